"""OpenAI's requests as litellm's arguments."""

from __future__ import annotations

from typing import Any

import litellm
from litellm.llms.openai_like.json_loader import JSONProviderRegistry
from litellm.main import responses_api_bridge_check
from litellm.utils import cached_get_model_info_helper

from las_langchain import errors
from las_langchain.fields import CHAT_FIELDS, EMBEDDING_FIELDS, OLLAMA_FIELDS
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target, variable_prefix
from las_langchain.settings import nearest
from las_langchain.transports.checks import check_messages, refuse_unknown
from las_langchain.transports.wire.dialects import is_openais

Json = dict[str, Any]

_OPENAI_LIKE = {
    *litellm.openai_compatible_providers,
    *JSONProviderRegistry.list_providers(),
    *("ai21", "custom_openai", "litellm_proxy", "mistral", "text-completion-openai"),
}
_JSON_ONLY = "Answer with one JSON object and nothing else, without a code fence."
_TAKE_METADATA = frozenset({"openai", "azure"})
# What litellm has to see of a request to OpenAI: it translates these, or needs them itself.
_SEEN = frozenset("messages tools max_tokens stream_options thinking extra_body extra_headers".split())
_ANTHROPICS_OWN = frozenset("cache_control container context_management inference_geo output_config speed".split())
# litellm has two dialects of Ollama: the better one for chat does not embed.
_EMBEDDING_PREFIXES = {"ollama_chat/": "ollama/"}
# For the others litellm forgets the headers of an embeddings request.
_TAKE_EMBEDDING_HEADERS = frozenset(
    "azure bedrock cohere cohere_chat dashscope edenai gemini hosted_vllm huggingface litellm_proxy llamafile "
    "lm_studio nvidia_nim oci openai openai_like openrouter qwen_ai_platform qwencloud together_ai vercel_ai_gateway "
    "vertex_ai volcengine".split()
)


def chat_arguments(target: Target, body: Json) -> Json:
    """What litellm is called with for a chat request.

    Raises:
        BadRequestError: a field is unknown, or a message malformed.
    """
    refuse_unknown(body, CHAT_FIELDS, target)
    check_messages(body.get("messages"))
    # litellm writes into messages and schemas, and takes fields out; another try needs them as they were.
    arguments = {key: _copied(value) for key, value in body.items() if value is not None}
    # litellm takes `metadata` for its own, writes into it, and sends nothing of it.
    metadata = arguments.pop("metadata", None)
    if metadata is not None and target.provider in _TAKE_METADATA:
        arguments["extra_body"] = {"metadata": metadata, **(arguments.get("extra_body") or {})}
    if target.provider == "anthropic" and (arguments.get("response_format") or {}).get("type") == "json_object":
        # Anthropic has no JSON mode, and litellm leaves the wish out.
        del arguments["response_format"]
        arguments["messages"] = [{"role": "system", "content": _JSON_ONLY}, *arguments["messages"]]
    if target.provider == "anthropic" and "extra_body" in arguments:
        arguments |= _anthropics_own(arguments.pop("extra_body"), target)
    if target.provider == "ollama":
        arguments = _for_ollama(arguments)
    elif target.litellm_model.startswith("hosted_vllm/"):
        _rename(arguments.get("extra_body") or {}, "repeat_penalty", "repetition_penalty")
    if "tools" in arguments:
        # litellm 1.106 looks for MCP tools here and fails where the mcp package is not installed; not sent upstream.
        arguments["_skip_mcp_handler"] = True
    _check_images(target, arguments["messages"])
    if target.provider == "openai" and not _is_translated(target, arguments):
        arguments = _as_it_is(arguments)
    return {**arguments, **_own_arguments(target, arguments), **call_arguments(target), "model": target.litellm_model}


def _for_ollama(arguments: Json) -> Json:
    """*arguments* with Ollama's own fields where litellm puts them among its options, or beside these."""
    extra = dict(arguments.pop("extra_body", None) or {})
    _rename(extra, "repetition_penalty", "repeat_penalty")
    own = {name: extra.pop(name) for name in OLLAMA_FIELDS & extra.keys()}
    stop = arguments.get("stop")
    # It takes only lists.
    listed = {"stop": [stop]} if isinstance(stop, str) else {}
    return {**arguments, **listed, **own, **({"extra_body": extra} if extra else {})}


def _rename(fields: Json, name: str, theirs: str) -> None:
    if name in fields:
        value = fields.pop(name)
        fields.setdefault(theirs, value)


def _is_translated(target: Target, arguments: Json) -> bool:
    """Whether litellm makes another request of one to OpenAI: for another endpoint, or without what it would refuse."""
    if litellm.drop_params or target.options.get("drop_params"):
        return True
    # Other servers at an address of their own may have no other endpoint.
    effort = arguments.get("reasoning_effort") if is_openais(target.api_base) else None
    tools = arguments.get("tools")
    if tools is None and effort is None and not litellm.route_all_chat_openai_to_responses:
        return _answers_elsewhere(target.model)
    info, _ = responses_api_bridge_check(
        target.model, "openai", tools=tools, reasoning_effort=effort, api_base=target.api_base
    )
    return bool(info.get("mode") == "responses")


def _answers_elsewhere(model: str) -> bool:
    """What litellm's own check comes to for a request with nothing but messages, of which it keeps no result."""
    try:
        mode = cached_get_model_info_helper(model=model, custom_llm_provider="openai").get("mode")
    except Exception:
        # That is how litellm says that it does not know the model.
        mode = None
    return mode == "responses" or (mode is None and model.startswith("responses/"))


def _copied(value: Any) -> Any:
    """What ``copy.deepcopy`` makes of JSON, in a fraction of the time."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _as_it_is(arguments: Json) -> Json:
    """*arguments*, those that litellm would refuse, rename or leave out for some models put where it does not look.

    What a model takes is for OpenAI, or whoever else is at the address, to say.
    """
    seen = {name: value for name, value in arguments.items() if name in _SEEN or name.startswith("_")}
    own = {name: value for name, value in arguments.items() if name not in seen}
    return {**seen, "extra_body": {**own, **(arguments.get("extra_body") or {})}}


def embedding_arguments(target: Target, body: Json) -> Json:
    """What litellm is called with for an embeddings request.

    Raises:
        BadRequestError: a field is unknown, or cannot be sent to this provider.
    """
    refuse_unknown(body, EMBEDDING_FIELDS, target)
    model = target.litellm_model
    for chat, embedding in _EMBEDDING_PREFIXES.items():
        model = embedding + model.removeprefix(chat) if model.startswith(chat) else model
    arguments = {key: value for key, value in body.items() if value is not None}
    prefix = model.partition("/")[0]
    if prefix not in _OPENAI_LIKE and prefix not in ("openai", "azure", "hosted_vllm"):
        # A matter of form alone, which the answer is put into afterwards.
        arguments.pop("encoding_format", None)
        _check_texts(target, arguments.get("input"))
    if target.provider == "openai":
        # litellm refuses it for models whose names it does not know; whether they take it is for the server to say.
        arguments["allowed_openai_params"] = ["dimensions"]
    arguments |= call_arguments(target)
    if token := arguments.pop("azure_ad_token", None):
        # litellm would send it as a field of the request, too.
        arguments["azure_ad_token_provider"] = lambda: token
    if (target.headers or arguments.get("extra_headers")) and prefix not in _TAKE_EMBEDDING_HEADERS:
        raise errors.BadRequestError(
            f"extra_headers: litellm sends no headers with embeddings of {target.provider}", param="extra_headers"
        )
    return {**arguments, "model": model}


def _check_texts(target: Target, given: Any) -> None:
    """Refuse tokens, which only OpenAI and servers like it take."""
    if isinstance(given, list) and given and not isinstance(given[0], str):
        raise errors.BadRequestError(f"input: {target.id} takes texts, not tokens", param="input")


def _own_arguments(target: Target, arguments: Json) -> Json:
    """What litellm has to be told for a chat request of this provider."""
    if target.provider == "groq" and "response_format" in arguments:
        # litellm asks Groq for structured output in one piece, and with the options of a stream all the same.
        return {"additional_drop_params": ["stream_options"]}
    if target.provider == "bedrock" and "tool_choice" in arguments:
        # litellm refuses it for models that its price list does not know.
        return {"allowed_openai_params": ["tool_choice"]}
    return {}


def _anthropics_own(extra: Json, target: Target) -> Json:
    """Anthropic's own fields, of which litellm sends those that it gets as arguments; the object itself is refused.

    Raises:
        BadRequestError: one is none of those, and might be litellm's own.
    """
    for name in extra:
        if name not in _ANTHROPICS_OWN and name not in target.extra_fields:
            hint = nearest(name, _ANTHROPICS_OWN)
            raise errors.BadRequestError(f"extra_body.{name}: not a field of Anthropic's{hint}", param="extra_body")
    return extra


def _check_images(target: Target, messages: list[Json]) -> None:
    """Refuse images that litellm would leave out without a word."""
    contents = (message.get("content") for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    if target.provider != "deepseek" or not any(part["type"] == "image_url" for part in parts):
        return
    if not litellm.supports_vision(target.model, custom_llm_provider="deepseek"):
        raise errors.BadRequestError(f"messages: {target.id} takes no images", param="messages")


def call_arguments(target: Target) -> Json:
    """What litellm is called with whatever the request: where it goes, with which key, and how long it may take."""
    row = PROVIDERS.get(target.provider)
    return {
        **_copied(dict(target.options)),
        **_credentials(target),
        "timeout": target.timeout,
        # Where a provider lists its callers, litellm would name itself.
        "headers": {**(row.headers if row else {}), **target.headers} or None,
        # The service retries; on "openai/" even litellm's 0 would be three attempts without both of these.
        "max_retries": 0,
        "num_retries": 0,
    }


def _credentials(target: Target) -> Json:
    """Where the call goes and with which key.

    Raises:
        AuthenticationError: an OpenAI-like provider has no key.
        BadRequestError: it has no address.
    """
    # litellm appends paths that begin with a slash.
    base = target.api_base.rstrip("/") if target.api_base else None
    key = target.api_key.get_secret_value() if target.api_key else None
    if target.provider not in PROVIDERS and target.provider in _OPENAI_LIKE:
        # For what is missing litellm takes OPENAI_BASE_URL and OPENAI_API_KEY: another provider's.
        _, _, key, found = litellm.get_llm_provider(target.litellm_model, api_base=base, api_key=key)
        prefix = variable_prefix(target.provider)
        if not found:
            raise errors.BadRequestError(f"No address for {target.provider}: set {prefix}_API_BASE", param="model")
        if not key and not base:
            raise errors.AuthenticationError(f"No key for {target.provider}: set {prefix}_API_KEY")
        base, key = base or found, key or "none"
    if target.provider == "azure" and not base:
        raise errors.BadRequestError("No address for Azure OpenAI: set AZURE_API_BASE", param="model")
    # Else litellm lets the environment's endpoint go before this one.
    endpoint = {"aws_bedrock_runtime_endpoint": base} if target.provider == "bedrock" and base else {}
    return {"api_base": base, "api_key": key, **endpoint}
