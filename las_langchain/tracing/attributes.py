"""What a span says of a call.

The names are those of OpenTelemetry's semantic conventions for generative AI, whose own home is
https://github.com/open-telemetry/semantic-conventions-genai. They are written out, since the Python package of the
conventions has them only as deprecated constants of a private module. What the conventions have no name for begins
with ``las.``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from las_langchain.records import CallRecord

Json = dict[str, Any]
Value = str | bool | int | float | list[str]

_WELL_KNOWN = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "codestral": "mistral_ai",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""The conventions' names of providers, where they are not the prefixes of model ids."""

_NUMBERS: dict[str, tuple[str, Callable[[float], float]]] = {
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "top_k": ("gen_ai.request.top_k", int),
    "seed": ("gen_ai.request.seed", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "dimensions": ("gen_ai.embeddings.dimension.count", int),
}
_OUTPUTS = {"json_object": "json", "json_schema": "json", "text": "text"}


def span_name(record: CallRecord) -> str:
    """What the span is called, such as ``chat gpt-4o``."""
    return f"{record.operation} {_model(record)}"


def of_begin(record: CallRecord) -> dict[str, Value]:
    """What is known when a call begins, for samplers to decide by."""
    return _named(record) | _filled(
        {
            "gen_ai.request.stream": record.stream or None,
            "las.call_id": record.id,
            "las.asked": record.asked if record.asked != record.model else None,
            "las.request_id": record.caller.request_id,
            "las.key_id": record.caller.key_id,
            "las.chain": record.caller.chain,
        }
    )


def of_request(record: CallRecord, request: Json) -> dict[str, Value]:
    """What a request asks for, without its texts."""
    found: dict[str, Value] = {}
    for field, (name, kind) in _NUMBERS.items():
        value = request.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = kind(value)
    choices, effort, encoding = request.get("n"), request.get("reasoning_effort"), request.get("encoding_format")
    if isinstance(choices, int) and choices != 1:
        found["gen_ai.request.choice.count"] = choices
    if isinstance(effort, str):
        found["gen_ai.request.reasoning.level"] = effort
    if isinstance(encoding, str):
        found["gen_ai.request.encoding_formats"] = [encoding]
    if output := _output_type(record, request):
        found["gen_ai.output.type"] = output
    return found


def of_end(record: CallRecord) -> dict[str, Value]:
    """What became of a call; the model may be another than at its begin."""
    return (
        _named(record)
        | _usage(record)
        | _filled(
            {
                "gen_ai.response.id": record.response_id,
                "gen_ai.response.model": record.response_model,
                "gen_ai.response.finish_reasons": _finish_reasons(record),
                "gen_ai.response.time_to_first_chunk": record.first_token_seconds,
                "error.type": (record.error or "_OTHER") if record.status == "error" else None,
                "las.status": record.status,
                "las.status_code": record.status_code,
                "las.attempts": record.attempts,
                "las.cache_hit": record.cache_hit,
                "las.cost_usd": record.cost_usd,
            }
        )
    )


def _named(record: CallRecord) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": _WELL_KNOWN.get(record.provider, record.provider),
        "gen_ai.request.model": _model(record),
        **_address(record),
    }


def _address(record: CallRecord) -> dict[str, Value]:
    parts = urlsplit(record.api_base or "")
    if parts.hostname is None:
        return {}
    return {"server.address": parts.hostname, "server.port": parts.port or (443 if parts.scheme == "https" else 80)}


def _model(record: CallRecord) -> str:
    return record.model.partition("/")[2] or record.model


def _output_type(record: CallRecord, request: Json) -> str | None:
    if record.operation == "speech":
        return "speech"
    wanted = request.get("response_format")
    return _OUTPUTS.get(str(wanted.get("type"))) if isinstance(wanted, Mapping) else None


def _usage(record: CallRecord) -> dict[str, Value]:
    tokens = record.tokens
    # What comes out of the cache names the tokens of the call that filled it; tracing services would bill them again.
    if tokens is None or record.cache_hit:
        return {}
    return _filled(
        {
            "gen_ai.usage.input_tokens": tokens.prompt,
            "gen_ai.usage.output_tokens": tokens.completion if record.operation != "embeddings" else None,
            "gen_ai.usage.cache_read.input_tokens": tokens.cached or None,
            "gen_ai.usage.cache_write.input_tokens": tokens.cache_writes or None,
            "gen_ai.usage.reasoning.output_tokens": tokens.reasoning or None,
            "las.tokens_estimated": record.tokens_estimated or None,
        }
    )


def _finish_reasons(record: CallRecord) -> list[str] | None:
    if record.finish_reasons:
        return list(record.finish_reasons)
    # The conventions' word for an answer that had begun and was never finished.
    return ["error"] if record.status != "ok" and record.first_token_seconds is not None else None


def _filled(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}
