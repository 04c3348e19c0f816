"""``ChatLAS``: one LangChain chat model for every provider and for the embedded model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, model_validator

from las_langchain.calls import ALIASES, REQUEST_FIELDS, Call, checked, first_answer, renamed
from las_langchain.errors import ConfigurationError
from las_langchain.keys import ApiKey, resolve_key
from las_langchain.messages import StreamState, chat_result, countable, to_openai
from las_langchain.profiles import model_profile
from las_langchain.providers import key_variable, model_id, split_name
from las_langchain.restoring import restorable
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import nearest
from las_langchain.structured import Method, Schema, response_format, structured_request, with_raw
from las_langchain.tools import ToolLike, openai_tool, openai_tool_choice
from las_langchain.transports.background import BACKGROUND

Json = dict[str, Any]


class ChatLAS(BaseChatModel):
    """A LangChain chat model for any model that litellm reaches, and for the one inside this process.

    Without arguments it is the settings' model (``LAS_MODEL``, else the embedded one, which needs no key)::

        ChatLAS().invoke("What is the capital of France?")
        ChatLAS(model="openai/gpt-4o", temperature=0)

    Fields left at None are not sent: the provider's own defaults hold. Those of the request, its key, address, waits
    and retries may also be arguments of one call, or be bound. Other names that users know are taken too:
    ``max_completion_tokens``, ``request_timeout``, ``stop_sequences`` and ``base_url``. Keys, addresses,
    organizations, ``extra_headers`` and ``extra_body`` are for the provider of ``model`` alone: a call to another
    provider's model, and a fallback, uses that one's own.

    A stream of several answers (``n``) has the first as its content and the others, whole, under
    ``additional_kwargs["candidates"]``.

    Raises:
        LASError: from every call; each is also the matching ``langchain_core.exceptions.ModelError``.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    model: str | None = Field(None, description="provider/model; None: the settings' model")
    temperature: float | None = Field(None, description="Sampling temperature")
    top_p: float | None = Field(None, description="Nucleus size, 0 to 1")
    top_k: int | None = Field(None, description="Tokens to sample from, where the provider knows this")
    max_tokens: int | None = Field(None, description="Longest answer, in tokens")
    timeout: float | None = Field(None, gt=0, description="Longest wait for the first byte, in seconds; None: settings")
    stream_timeout: float | None = Field(None, gt=0, description="Longest silence in a stream, in seconds")
    max_retries: int | None = Field(None, ge=0, description="Further tries after a retryable failure; None: settings")
    stop: list[str] | str | None = Field(None, description="Texts that end the answer")
    n: int | None = Field(None, ge=1, description="Number of answers")
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
    streaming: bool = Field(False, description="Whether invoke asks for a stream too")
    user: str | None = Field(None, description="The end user's id, for the provider's abuse detection")
    service_tier: str | None = Field(None, description="The provider's latency tier")
    extra_body: dict[str, Any] | None = Field(None, description="Further fields of the provider's own")
    # Headers may hold credentials, so they stay out of representations, dumps and traces.
    extra_headers: dict[str, str] | None = Field(None, exclude=True, repr=False, description="Further headers")
    model_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further fields of OpenAI's request")
    api_key: ApiKey | None = Field(
        None, repr=False, description="The key, or a function; None: the provider's variable"
    )
    api_base: str | None = Field(None, description="Address of the API; None: the provider's")
    organization: str | None = Field(None, description="OpenAI's organization id")
    fallbacks: list[str] | None = Field(None, description="Models to ask, in order, when this one fails")
    transport: Literal["wire", "litellm", "local"] | None = Field(
        None, description="How to reach the model; None: the best way"
    )
    service: LiteLLMService | None = Field(None, exclude=True, repr=False, description="None: the process-wide one")

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = {*cls.model_fields, *ALIASES}
        for name in values:
            if name not in known:
                hint = nearest(name, known) or "; a field of the request goes into model_kwargs"
                raise ValueError(f"ChatLAS has no argument {name!r}{hint}")
        # LangChain's own `metadata` is about runs; OpenAI's is a field of the request.
        own = {*cls.model_fields, *ALIASES} - BaseChatModel.model_fields.keys()
        misplaced = sorted(own.intersection(values.get("model_kwargs") or ()))
        if misplaced:
            raise ValueError(f"model_kwargs holds {misplaced[0]!r}, which is an argument of ChatLAS")
        for alias, name in ALIASES.items():
            if alias in values and name in values:
                raise ValueError(f"{alias} is another name of {name}: give one of them")
        named = renamed(values)
        if isinstance(named.get("response_format"), type):
            named["response_format"] = response_format(named["response_format"])
        return named

    @model_validator(mode="after")
    def _settle_model(self) -> Self:
        # So that dumps, cache keys and traces name it. What is wrong with the settings is said by the first call.
        if self.model is None:
            with suppress(ConfigurationError):
                self.model = self._service.settings.model
        return self

    @property
    def _llm_type(self) -> str:
        return "las"

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """It can be dumped by LangChain, with the key as a reference to its variable."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The variable that stands for the key in a dump."""
        return {"api_key": key_variable(self._provider_of(self.model))}

    @property
    def _identifying_params(self) -> Json:
        names = ("model", *REQUEST_FIELDS, "model_kwargs", "api_base", "organization", "fallbacks", "transport")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None and value != {}}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> Json:
        # These go into traces.
        return super()._get_invocation_params(stop=stop, **_without_secrets(kwargs))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # This goes into caches.
        return super()._get_llm_string(stop=stop, **_without_secrets(kwargs))

    @property
    def _service(self) -> LiteLLMService:
        return self.service or get_litellm_service()

    def _resolve_model_profile(self) -> ModelProfile | None:
        settings = self._service.settings
        return model_profile(*split_name(self.model or settings.model, settings), settings)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        provider, model = split_name(kwargs.get("model") or self.model or "", self._service.settings)
        return LangSmithParams(**{**params, "ls_provider": provider, "ls_model_name": model})

    def _provider_of(self, model: str | None) -> str:
        settings = self._service.settings
        return split_name(model or settings.model, settings)[0]

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of *text*: the embedded model's own, else by the tokenizer that litellm ships for the model."""
        return self._service.tokenize(self.model, text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[ToolLike] | None = None) -> int:
        """The number of tokens of a prompt, counted in this process.

        An image counts as litellm's average one; sounds and files count nothing.

        Args:
            messages: the prompt.
            tools: tools in any form that :meth:`bind_tools` takes.
        """
        provider = self._provider_of(self.model)
        body = {
            "messages": countable(to_openai(messages, provider)),
            "tools": [openai_tool(tool) for tool in tools or ()],
        }
        return self._service.count_tokens(self.model, body)

    # What LangChain calls

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return BACKGROUND.run(self._agenerate(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async def answer(call: Call) -> ChatResult:
            exchange = call.exchange(await resolve_key(call.key))
            response = await exchange.complete()
            return chat_result(response, exchange.target, self.output_version, exchange.record.cost_usd)

        return await first_answer(answer, self._calls(messages, stop, kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with closing(BACKGROUND.iterate(self._astream(messages, stop, **kwargs))) as generations:
            for generation in generations:
                if run_manager:
                    run_manager.on_llm_new_token(generation.text, chunk=generation)
                yield generation

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatGenerationChunk]:
        async def begin(call: Call) -> tuple[StreamState, Json, AsyncGenerator[Json]]:
            exchange = call.exchange(await resolve_key(call.key), stream=True)
            chunks = exchange.chunks()
            first = await anext(chunks)
            return StreamState(exchange.target, self.output_version), first, chunks

        calls = self._calls(messages, stop, self._with_stream_options(kwargs))
        state, first, rest = await first_answer(begin, calls)
        chunk: Json | None = first
        async with aclosing(rest):
            while chunk is not None:
                for generation in state.chunks(chunk):
                    if run_manager:
                        await run_manager.on_llm_new_token(generation.text, chunk=generation)
                    yield generation
                chunk = await anext(rest, None)

    def _calls(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Json) -> list[Call]:
        """The call as asked, then those to the fallbacks."""
        given = {name: value for name, value in renamed(kwargs).items() if value is not None}
        given = checked({**given, **({} if stop is None else {"stop": stop})}, type(self))
        models = [given.pop("model", self.model), *(given.pop("fallbacks", self.fallbacks) or ())]
        return [Call(self, model, models[0], messages, given) for model in models]

    def _with_stream_options(self, kwargs: Json) -> Json:
        wanted = kwargs.get("stream_usage")
        usage = self.stream_usage if wanted is None else wanted
        given = kwargs.get("stream_options") or {**self.model_kwargs, **(kwargs.get("model_kwargs") or {})}.get(
            "stream_options", {}
        )
        return {**kwargs, "stream_options": {"include_usage": usage, **given}}

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # Listeners and `streaming` ask for a stream where invoke and generate owe all answers.
        if self._several(kwargs) and not kwargs.get("stream"):
            return False
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _should_use_protocol_streaming(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        wanted = super()._should_use_protocol_streaming(async_api=async_api, run_manager=run_manager, **kwargs)
        return wanted and not self._several(kwargs)

    def _several(self, kwargs: Json) -> bool:
        return (kwargs.get("n") or self.n) not in (None, 1)

    # What users bind

    def bind_tools(
        self,
        tools: Sequence[ToolLike],
        *,
        tool_choice: str | bool | Json | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call *tools*.

        Args:
            tools: functions, pydantic classes, LangChain tools, or dicts of OpenAI's or Anthropic's kind. A LangChain
                tool's ``extras``, such as ``cache_control``, are sent beside it.
            tool_choice: ``auto``, ``none``, ``any``, ``required`` or True, a tool's name, or OpenAI's dict.
            strict: whether arguments must match the schema exactly, where the provider can guarantee that: optional
                arguments become nullable, or required if they have a default.
            kwargs: further request fields, such as ``parallel_tool_calls`` or ``response_format``.

        Raises:
            BadRequestError: *tool_choice* names none of the tools, or *strict* cannot express a tool's schema.
        """
        converted = [openai_tool(tool, strict) for tool in tools]
        if tool_choice is not None and (choice := openai_tool_choice(tool_choice, converted)) is not None:
            kwargs["tool_choice"] = choice
        # Providers refuse an empty list, and LangChain's agents bind one where they have no tools.
        bound = {"tools": converted, **kwargs} if converted else kwargs
        return cast("Runnable[LanguageModelInput, AIMessage]", self.bind(**bound))

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        include_raw: bool = False,
        method: Method | None = None,
        strict: bool | None = None,
        tools: Sequence[ToolLike] = (),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model that answers with an object.

        Args:
            schema: a pydantic class (of version 1 or 2), a TypedDict, a JSON schema with a title, or an OpenAI
                function; None only with ``json_mode``.
            include_raw: whether to give ``{"raw": message, "parsed": object, "parsing_error": error}``, where nothing
                is raised for an answer that does not fit.
            method: ``json_schema`` has the provider hold the answer to the schema, ``function_calling`` asks for the
                arguments of a tool, ``json_mode`` asks for any JSON. None: the first where the model's profile says
                that it can, else the second.
            strict: whether the provider is to guarantee the schema: optional fields become nullable and required, and
                nulls that stand for something left out are taken out of the answer. None: with ``json_schema``,
                wherever strict mode can express the schema.
            tools: tools that the model may call instead; the parsed object is then None.
            kwargs: further request fields.

        Raises:
            ValueError: no *schema*, or a *method* that there is not.
            BadRequestError: *strict* is True and cannot express the schema.
            OutputParserException: from calls: the model refused, or its answer does not fit.
        """
        if method is None:
            method = "json_schema" if (self.profile or {}).get("structured_output") else "function_calling"
        if method not in ("json_schema", "function_calling", "json_mode"):
            raise ValueError(f"method is json_schema, function_calling or json_mode, not {method!r}")
        converted = [openai_tool(tool, strict) for tool in tools]
        asked, parser = structured_request(schema, method, strict, converted)
        model = self.bind(**asked, **kwargs)
        return with_raw(model, parser) if include_raw else model | parser


restorable(ChatLAS)


def _without_secrets(kwargs: Json) -> Json:
    return {name: value for name, value in kwargs.items() if name not in ("api_key", "extra_headers")}


def init_chat_model(model: str | None = None, *, model_provider: str | None = None, **kwargs: Any) -> ChatLAS:
    """A chat model by its id, for every provider that litellm knows; LangChain's own function knows a closed list.

    Args:
        model: ``provider/model``, or LangChain's ``provider:model``; None: the settings' model.
        model_provider: the provider, where *model* does not say it.
        kwargs: arguments of :class:`ChatLAS`.

    Raises:
        ModelNotFoundError: no such provider.
        ValidationError: a wrong argument; the message names it.
    """
    chat_model = ChatLAS(model=model and model_id(model, model_provider), **kwargs)
    chat_model._provider_of(chat_model.model)
    return chat_model
