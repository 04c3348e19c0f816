"""``ChatLAS``: one LangChain chat model for every provider and for the embedded model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, SecretStr, model_validator

from las_langchain import messages as translate
from las_langchain.errors import BadRequestError
from las_langchain.providers import Target
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import nearest

# Fields that go into the request under their own names.
REQUEST_FIELDS = (
    "temperature", "top_p", "top_k", "max_tokens", "stop", "n", "seed", "presence_penalty", "frequency_penalty",
    "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "response_format", "parallel_tool_calls", "user",
    "service_tier", "extra_body", "extra_headers",
)  # fmt: skip

# Fields that are about the call itself.
_CALL_FIELDS = ("model", "timeout", "max_retries", "api_key", "api_base")
# What LangChain and the stream add to a call's arguments.
_LANGCHAINS = frozenset({"ls_structured_output_format", "stream", "stream_usage"})


class ChatLAS(BaseChatModel):
    """A LangChain chat model for any model that litellm reaches, and for the one inside this process.

    Without arguments it is the settings' model (``LAS_MODEL``, else the embedded one, which needs no key)::

        ChatLAS().invoke("What is the capital of France?")
        ChatLAS(model="openai/gpt-4o", temperature=0)

    Fields left at None are not sent: the provider's own defaults hold.

    Raises:
        LASError: from every call; each is also the matching ``langchain_core.exceptions.ModelError``.
    """

    model_config = ConfigDict(populate_by_name=True, extra="forbid", arbitrary_types_allowed=True)

    model: str | None = Field(None, description="provider/model; None: the settings' model")
    temperature: float | None = Field(None, description="Sampling temperature")
    top_p: float | None = Field(None, description="Nucleus size, 0 to 1")
    top_k: int | None = Field(None, description="Tokens to sample from, where the provider knows this")
    max_tokens: int | None = Field(None, description="Longest answer, in tokens")
    timeout: float | None = Field(None, description="Longest wait for the first byte, in seconds; None: the settings'")
    max_retries: int | None = Field(None, description="Further tries after a retryable failure; None: the settings'")
    stop: list[str] | str | None = Field(None, description="Texts that end the answer")
    n: int | None = Field(None, description="Number of answers")
    seed: int | None = Field(None, description="Seed for repeatable sampling")
    presence_penalty: float | None = Field(None, description="-2 to 2")
    frequency_penalty: float | None = Field(None, description="-2 to 2")
    logprobs: bool | None = Field(None, description="Whether to return log probabilities")
    top_logprobs: int | None = Field(None, description="Alternatives a token, with logprobs")
    logit_bias: dict[str, float] | None = Field(None, description="Bias by token id")
    reasoning_effort: str | None = Field(None, description="Such as low, medium or high")
    response_format: dict[str, Any] | None = Field(None, description="OpenAI's response_format")
    parallel_tool_calls: bool | None = Field(None, description="Whether one turn may hold several tool calls")
    stream_usage: bool = Field(True, description="Whether streams end with their usage")
    user: str | None = Field(None, description="The end user's id, for the provider's abuse detection")
    service_tier: str | None = Field(None, description="The provider's latency tier")
    extra_body: dict[str, Any] | None = Field(None, description="Further fields of the provider's own")
    extra_headers: dict[str, str] | None = Field(None, description="Further headers")
    api_key: SecretStr | None = Field(None, description="The key; None: the provider's variable")
    api_base: str | None = Field(None, alias="base_url", description="Address of the API; None: the provider's")
    service: LiteLLMService | None = Field(None, exclude=True, repr=False, description="None: the process-wide one")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        known = {*cls.model_fields, "base_url"}
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                raise ValueError(f"ChatLAS has no argument {name!r}{nearest(name, known)}")
        return values

    @property
    def _llm_type(self) -> str:
        return "las"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in REQUEST_FIELDS}
        known = {name: value for name, value in given.items() if value is not None}
        return {"model": self.model or self._service.settings.model, "api_base": self.api_base, **known}

    @property
    def _service(self) -> LiteLLMService:
        return self.service or get_litellm_service()

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        provider, _, model = str(kwargs.get("model") or self._identifying_params["model"]).rpartition("/")
        return LangSmithParams(**{**params, "ls_provider": provider.partition("/")[0] or "las", "ls_model_name": model})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        target, body, max_retries = self._request(messages, stop, kwargs)
        response = self._service.complete(target, body, max_retries=max_retries)
        return translate.chat_result(response, target.provider)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        target, body, max_retries = self._request(messages, stop, kwargs)
        response = await self._service.acomplete(target, body, max_retries=max_retries)
        return translate.chat_result(response, target.provider)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        target, body, max_retries = self._stream_request(messages, stop, kwargs)
        with closing(self._service.stream(target, body, max_retries=max_retries)) as chunks:
            for chunk in chunks:
                generation = translate.generation_chunk(chunk, target.provider)
                if run_manager:
                    run_manager.on_llm_new_token(generation.text, chunk=generation)
                yield generation

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        target, body, max_retries = self._stream_request(messages, stop, kwargs)
        async with aclosing(self._service.astream(target, body, max_retries=max_retries)) as chunks:
            async for chunk in chunks:
                generation = translate.generation_chunk(chunk, target.provider)
                if run_manager:
                    await run_manager.on_llm_new_token(generation.text, chunk=generation)
                yield generation

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[Target, dict[str, Any], int | None]:
        """The target, body and retries of one call; *kwargs* go before the fields."""
        given = {name: value for name, value in kwargs.items() if value is not None and name not in _LANGCHAINS}
        own = {name: given.pop(name, getattr(self, name)) for name in _CALL_FIELDS}
        base = given.pop("base_url", None)
        target = self._service.target(own["model"], api_key=_secret(own["api_key"]), api_base=base or own["api_base"])
        if own["timeout"] is not None:
            target = replace(target, timeout=own["timeout"])
        fields = {name: getattr(self, name) for name in REQUEST_FIELDS}
        body = {**fields, **given, **({"stop": stop} if stop is not None else {})}
        sent = {name: value for name, value in body.items() if value is not None}
        return target, {"messages": translate.to_openai(messages), **sent}, own["max_retries"]

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> tuple[Target, dict[str, Any], int | None]:
        """As :meth:`_request`, for a stream."""
        wanted = kwargs.get("stream_usage")
        if self.stream_usage if wanted is None else wanted:
            kwargs = {"stream_options": {"include_usage": True}, **kwargs}
        target, body, max_retries = self._request(messages, stop, kwargs)
        if body.get("n", 1) != 1:
            raise BadRequestError("n: a stream is one answer; take several with invoke or generate", param="n")
        return target, body, max_retries

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call *tools*.

        Args:
            tools: functions, pydantic classes, LangChain tools or dicts.
            tool_choice: ``auto``, ``none``, ``any``, ``required`` or True, a tool's name, or OpenAI's dict.
            strict: whether arguments must match the schema exactly, where the provider can guarantee that.
            kwargs: further request fields, such as ``parallel_tool_calls``.

        Raises:
            BadRequestError: *tool_choice* names none of the tools.
        """
        converted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        if tool_choice not in (None, False):
            names = [tool.get("function", {}).get("name") for tool in converted]
            kwargs["tool_choice"] = _tool_choice(tool_choice, names)
        return cast("Runnable[LanguageModelInput, AIMessage]", self.bind(tools=converted, **kwargs))


def _secret(key: SecretStr | str | None) -> SecretStr | None:
    return SecretStr(key) if isinstance(key, str) else key


def _tool_choice(choice: str | bool | dict[str, Any] | None, names: list[str | None]) -> str | dict[str, Any]:
    if isinstance(choice, dict):
        return choice
    if choice in ("any", "required", True):
        return "required"
    if choice in ("auto", "none"):
        return cast("Literal['auto', 'none']", choice)
    if choice not in names:
        raise BadRequestError(f"tool_choice names {choice!r}, which is not among the tools", param="tool_choice")
    return {"type": "function", "function": {"name": choice}}
