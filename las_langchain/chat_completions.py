"""What users call on the service for a chat: whole or in chunks, about pictures, with tools that are carried out."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from las_langchain.attachments import Detail, StrPath, image_parts
from las_langchain.call_options import (
    CallOptions,
    ChatOptions,
    Kind,
    ToolChatOptions,
    chat_fields,
    check_options,
    overrides_of,
)
from las_langchain.conversations import Messages, chat_request, messages_of
from las_langchain.errors import BadRequestError
from las_langchain.keys import resolve_key
from las_langchain.openai_objects import AsyncChatStream, ChatStream, completion_of, load_types
from las_langchain.providers import Overrides, Target
from las_langchain.records import Operation
from las_langchain.settings import LASSettings
from las_langchain.transports.background import BACKGROUND
from las_langchain.tries import Request

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from las_langchain.exchanges import Exchange
    from las_langchain.setups import Setup
    from las_langchain.tool_handlers import Handler
    from las_langchain.tool_loop import ToolChat, ToolLoop
    from las_langchain.tools import ToolLike

Json = dict[str, Any]


class ChatCompletions(ABC):
    """The service's methods for chats.

    A model is named as ``provider/model``, or by its bare name and its provider; without a name it is the settings'.
    Sync methods may be called from any thread, but not inside an async callback of another sync call.
    """

    @property
    @abstractmethod
    def settings(self) -> LASSettings:
        """The settings that calls begin with from now on."""

    _setup: Setup

    @abstractmethod
    def target(
        self,
        model: str | None = None,
        provider: str | None = None,
        *,
        kind: Kind = "model",
        setup: Setup | None = None,
        **overrides: Unpack[Overrides],
    ) -> Target:
        """Where calls to *model* go."""

    @abstractmethod
    def exchange(
        self,
        operation: Operation,
        target: Target,
        request: Request,
        *,
        stream: bool = False,
        max_retries: int | None = None,
    ) -> Exchange:
        """One request, not sent yet."""

    # Chats

    @overload
    def chat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...

    @overload
    def chat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> ChatStream: ...

    def chat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | ChatStream:
        """Answer a chat.

        Args:
            messages: the conversation, as OpenAI's dicts or LangChain's messages; or a text that the user says.
            model: its id, its bare name, or an alias; default: the settings'.
            provider: the provider, if *model* does not name it.
            stream: whether to answer in chunks. Every chunk has a choice whose ``delta.content`` is a text; the usage
                comes in the last one.
            options: fields of OpenAI's request, such as ``temperature``, ``max_tokens``, ``tools``, ``tool_choice`` and
                ``response_format``; and ``timeout`` (seconds to the first byte), ``max_retries``, ``api_key``,
                ``api_base``: all of :class:`~las_langchain.call_options.ChatOptions`.

        Returns:
            ``response.choices[0].message.content``; or an iterator of chunks with ``chunk.choices[0].delta.content``,
            which closes the connection when it is closed. With ``cache_hit`` where it came out of the cache.

        Raises:
            BadRequestError: an argument is wrong or unknown; the message names it.
            ModelNotFoundError: no such model or provider.
            LASError: whatever else went wrong, after the retries and fallbacks; litellm's classes catch it too.
        """
        exchange = BACKGROUND.run(self._chat(messages, model, provider, options, stream=stream))
        if stream:
            return ChatStream(BACKGROUND.iterate(exchange.chunks()))
        return completion_of(BACKGROUND.run(exchange.complete()))

    @overload
    async def achat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...

    @overload
    async def achat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncChatStream: ...

    async def achat_completion(
        self,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | AsyncChatStream:
        """Async form of :meth:`chat_completion`; with *stream* it gives an async iterator."""
        exchange = await self._chat(messages, model, provider, options, stream=stream)
        if stream:
            return await AsyncChatStream.begin(exchange.chunks())
        await load_types()
        return completion_of(await exchange.complete())

    async def _chat(
        self,
        messages: Messages | None,
        model: str | None,
        provider: str | None,
        options: ChatOptions,
        *,
        stream: bool,
    ) -> Exchange:
        # What changes while the key is asked for is for the next call.
        setup = self._setup
        check_options(options, ChatOptions, ("messages", "model", "provider", "stream"))
        given, fields = messages_of(messages), chat_fields(options)
        if stream:
            fields["stream_options"] = {"include_usage": True, **fields.get("stream_options", {})}
        target = await self._target(setup, model, provider, options)
        request = chat_request(given, fields, target)
        return self.exchange("chat", target, request, stream=stream, max_retries=options.get("max_retries"))

    async def _target(
        self, setup: Setup, model: str | None, provider: str | None, options: CallOptions, kind: Kind = "model"
    ) -> Target:
        key = await resolve_key(options.get("api_key"))
        return self.target(model, provider, kind=kind, setup=setup, **overrides_of({**options, "api_key": key}))

    # Pictures

    @overload
    def vision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...

    @overload
    def vision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> ChatStream: ...

    def vision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | ChatStream:
        """Answer a question about images, which are sent in the order of the arguments.

        Args:
            prompt: the question.
            image_url: http(s) addresses or data URIs, one or several; never a file of this machine.
            images: the same, or the bytes of PNG, JPEG, GIF or WebP files.
            image_path: files of those kinds on this machine, each of at most 20 MB.
            model: as for :meth:`chat_completion`.
            provider: as for :meth:`chat_completion`.
            detail: how closely the model is to look: ``auto``, ``low`` or ``high``.
            stream: as for :meth:`chat_completion`.
            options: as for :meth:`chat_completion`.

        Raises:
            BadRequestError: there is no image, or one is none or too large; the message names it.
            LASError: as :meth:`chat_completion`.
        """
        messages = _vision_messages(prompt, image_url, images, image_path, detail)
        if stream:
            return self.chat_completion(messages, model, provider, stream=True, **options)
        return self.chat_completion(messages, model, provider, **options)

    @overload
    async def avision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...

    @overload
    async def avision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncChatStream: ...

    async def avision_completion(
        self,
        prompt: str,
        image_url: str | Sequence[str] | None = None,
        *,
        images: Iterable[str | bytes] = (),
        image_path: StrPath | Sequence[StrPath] | None = None,
        model: str | None = None,
        provider: str | None = None,
        detail: Detail = "auto",
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | AsyncChatStream:
        """Async form of :meth:`vision_completion`."""
        # Reading and encoding twenty megabytes would hold up the event loop.
        messages = await asyncio.to_thread(_vision_messages, prompt, image_url, images, image_path, detail)
        if stream:
            return await self.achat_completion(messages, model, provider, stream=True, **options)
        return await self.achat_completion(messages, model, provider, **options)

    # Tools

    def chat_with_tools(
        self,
        messages: Messages | None,
        tools: Iterable[ToolLike],
        tool_handlers: Mapping[str, Handler] | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        max_rounds: int = 8,
        parallel: bool = True,
        handler_timeout: float | None = 60,
        **options: Unpack[ToolChatOptions],
    ) -> ToolChat:
        """Answer a chat, carrying out the tool calls that the model asks for until it has its answer.

        Whatever goes wrong with a call (no such tool, broken arguments, arguments that do not fit the schema, a handler
        that fails or takes too long) is told to the model, which may mend it. A forced ``tool_choice`` holds for the
        first request only. After *max_rounds* rounds of calls the model is asked once more, with ``tool_choice`` none,
        so that there is an answer.

        Args:
            messages: as for :meth:`chat_completion`.
            tools: what the model may call: :class:`~las_langchain.tools.ToolDefinition`, functions, pydantic classes,
                LangChain tools, or OpenAI's dicts. Functions and LangChain tools run themselves.
            tool_handlers: by the names of tools, the functions that are called with their arguments. Sync ones run in
                threads of their own and may call the sync methods of this service; async ones run on the event loop.
                A result that is no text is sent as JSON; beyond 100,000 characters it is cut, which the model is told.
            model: as for :meth:`chat_completion`.
            provider: as for :meth:`chat_completion`.
            max_rounds: most rounds of tool calls.
            parallel: whether the calls of one round are carried out at the same time.
            handler_timeout: longest run of a handler, in seconds; None: any. A thread cannot be stopped: what it
                still does is ignored.
            options: as for :meth:`chat_completion`.

        Returns:
            ``result["response"]``, the text of the answer; and ``messages``, ``tool_calls``, ``rounds``, ``stopped``,
            ``usage`` and ``cost``: see :class:`~las_langchain.tool_loop.ToolChat`.

        Raises:
            BadRequestError: an argument is wrong, or a tool has no handler; nothing was sent.
            LASError: a request failed, as :meth:`chat_completion`.
        """
        limits = (max_rounds, parallel, handler_timeout)
        return self._tool_loop(messages, tools, tool_handlers, model, provider, limits, options).run()

    async def achat_with_tools(
        self,
        messages: Messages | None,
        tools: Iterable[ToolLike],
        tool_handlers: Mapping[str, Handler] | None = None,
        model: str | None = None,
        provider: str | None = None,
        *,
        max_rounds: int = 8,
        parallel: bool = True,
        handler_timeout: float | None = 60,
        **options: Unpack[ToolChatOptions],
    ) -> ToolChat:
        """Async form of :meth:`chat_with_tools`; cancelling it cancels its requests and its async handlers."""
        limits = (max_rounds, parallel, handler_timeout)
        return await self._tool_loop(messages, tools, tool_handlers, model, provider, limits, options).arun()

    def _tool_loop(
        self,
        messages: Messages | None,
        tools: Iterable[ToolLike],
        handlers: Mapping[str, Handler] | None,
        model: str | None,
        provider: str | None,
        limits: tuple[int, bool, float | None],
        options: ToolChatOptions,
    ) -> ToolLoop:
        # Imported when needed: it loads much of LangChain, which most calls do without.
        from las_langchain.tool_loop import Limits, ToolLoop

        return ToolLoop(self, self._setup, (model, provider), messages, tools, handlers, Limits(*limits), options)


def _vision_messages(
    prompt: str,
    image_url: str | Sequence[str] | None,
    images: Iterable[str | bytes],
    image_path: StrPath | Sequence[StrPath] | None,
    detail: Detail,
) -> list[Json]:
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRequestError("prompt: expected a question about the image", param="prompt")
    parts = image_parts(image_url, images, image_path, detail)
    return [{"role": "user", "content": [{"type": "text", "text": prompt}, *parts]}]
