"""Answers that fit a JSON schema of the user's: asked for, checked, and asked for once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import RunnableConfig
from pydantic import BeforeValidator

from las_langchain.asked import asking
from las_langchain.chat_models import ChatLAS
from las_langchain.errors import APIError, BadRequestError
from las_langchain.providers import split_name
from las_langchain.service import get_litellm_service

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator as Validator

Json = dict[str, Any]

REPAIR_PROMPT = """Your answer does not fit the schema:
{faults}

Answer again with all of the JSON, corrected, and nothing else."""

_KEY = "answer"
_LONGEST_SCHEMA = 100_000
"""Letters of a schema as JSON."""
_DEEPEST = 64
"""Levels of a schema as JSON; OpenAI takes about half of that."""
_MOST_FAULTS = 5
_LONGEST_FAULT = 200
_LONGEST_ANSWER = 8_000
"""Letters of a wrong answer that the model is shown again."""
_MOST_LOCAL_TOKENS = 512
"""Tokens of an answer of the embedded model, which are some seconds."""
_REFERENCES = ("$ref", "$dynamicRef")
_DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords that hold values, in which nothing is a reference."""
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords that hold schemas by name; a name is no keyword."""


def _checked_schema(value: Any) -> Any:
    """A JSON schema given as an object or as JSON text, as an object."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {str(error) or 'nested too deeply'}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON schema, an object, not {type(value).__name__}")
    if fault := _schema_fault(value):
        raise ValueError(fault)
    return value


def _checked_optional(value: Any) -> Any:
    empty = value is None or (isinstance(value, str) and not value.strip())
    return None if empty else _checked_schema(value)


JsonSchema = Annotated[Json, BeforeValidator(_checked_schema, json_schema_input_type=str)]
"""A JSON schema that can be used: small, whole, without references to elsewhere.

Taken as an object or as JSON text. Its own schema says text, since forms have no field for an object of any shape."""

OptionalJsonSchema = Annotated[Json | None, BeforeValidator(_checked_optional, json_schema_input_type=str)]
"""The same, which may be left out."""


class Fitting(NamedTuple):
    """An answer that fits.

    Attributes:
        value: the answer.
        usage: of all calls that it took.
    """

    value: Any
    usage: UsageMetadata | None


async def fitting_answer(messages: list[BaseMessage], schema: Json, config: RunnableConfig) -> Fitting:
    """What the settings' model answers to *messages*, as JSON that fits *schema*.

    An answer that does not fit is shown to the model once, with what is wrong with it.

    Args:
        messages: the prompt.
        schema: as checked by :data:`JsonSchema`; any value may be at its root.
        config: of the run.

    Raises:
        APIError: the second answer does not fit either (502).
        BadRequestError: the model refused to answer.
        LASError: whatever else went wrong with a call.
    """
    model, (asked, wrapped) = ChatLAS(), _asked(schema)
    method: Any = None
    if _is_embedded(model):
        # It fills in arguments only from the first words of a text, and ends some texts never.
        model, method = ChatLAS(max_tokens=_MOST_LOCAL_TOKENS, temperature=0), "json_schema"
    runnable = model.with_structured_output(asked, include_raw=True, method=method)
    usage: UsageMetadata | None = None
    correction: list[BaseMessage] = []
    for _ in range(2):
        # A client's limits would leave half an object.
        with asking(max_tokens=None, stop=None):
            answer = await runnable.ainvoke([*messages, *correction], config)
        usage = add_usage(usage, answer["raw"].usage_metadata)
        value, faults = _read(answer, schema, wrapped)
        if not faults:
            return Fitting(value, usage)
        if answer["raw"].response_metadata.get("finish_reason") == "length":
            # Another try would be as long.
            raise _unfit(
                "The model's answer was cut off before the JSON was whole: bound its texts with maxLength in the "
                "schema, ask for less, allow longer answers (LAS_MAX_TOKENS), or set LAS_MODEL to a larger model"
            )
        correction = _correction(answer, faults)
    raise _unfit(f"The model's answer does not fit the schema, nor does its correction: {'; '.join(faults[:2])}")


def _is_embedded(model: ChatLAS) -> bool:
    settings = get_litellm_service().settings
    return split_name(model.model or settings.model, settings)[0] == "local"


def _asked(schema: Json) -> tuple[Json, bool]:
    """The schema that the model is asked for, and whether the answer is inside an object of it."""
    plain = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "title")}
    if plain.get("type") == "object" and plain.get("properties"):
        return {"title": _KEY, **plain}, False
    # Providers want an object, with properties, at the root.
    definitions: Json = {key: plain.pop(key) for key in ("$defs", "definitions") if key in plain}
    inside = _moved({"properties": {_KEY: plain}, **definitions})
    return {"title": _KEY, "type": "object", **inside, "required": [_KEY], "additionalProperties": False}, True


def _moved(schema: Json) -> Json:
    """*schema* with references to what has moved under the answer's key."""

    def move(reference: str) -> str:
        if reference.startswith(("#/$defs/", "#/definitions/")):
            return reference
        return f"#/properties/{_KEY}{reference.removeprefix('#')}"

    return cast("Json", _with_references(schema, move))


def _with_references(node: Any, change: Callable[[str], str], *, names: bool = False) -> Any:
    """*node* of a schema with its references changed; *names*: its keys are names and no keywords."""
    if isinstance(node, list):
        return [_with_references(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    result = {}
    for key, value in node.items():
        if not names and key in _REFERENCES and isinstance(value, str):
            result[key] = change(value)
        elif not names and key in _DATA:
            result[key] = value
        else:
            result[key] = _with_references(value, change, names=not names and key in _NAMED)
    return result


def _read(answer: Json, schema: Json, wrapped: bool) -> tuple[Any, list[str]]:
    """The value in an answer, and what is wrong with it."""
    raw, parsed, error = answer["raw"], answer["parsed"], answer["parsing_error"]
    if refusal := raw.additional_kwargs.get("refusal"):
        raise BadRequestError(f"The model refused: {_line(refusal)}", code="refused")
    if not isinstance(parsed, dict):
        return None, [_line(str(error).partition("\nFor troubleshooting")[0]) if error else "it is not a JSON object"]
    if wrapped and _KEY not in parsed:
        return None, [f"it lacks the key {_KEY!r}"]
    value = parsed[_KEY] if wrapped else parsed
    return value, faults_of(value, schema)


def faults_of(value: Any, schema: Json) -> list[str]:
    """What keeps *value* from fitting *schema*, which is checked by :data:`JsonSchema`; nothing if it fits."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        return [f"not JSON: {_line(error)}"]
    errors = islice(_validator(schema).iter_errors(value), _MOST_FAULTS)
    return [f"{'.'.join(map(str, error.instance_path)) or 'the answer'}: {_line(error.message)}" for error in errors]


def _correction(answer: Json, faults: list[str]) -> list[BaseMessage]:
    raw = answer["raw"]
    said = str(raw.text) or json.dumps(answer["parsed"], ensure_ascii=False)
    return [
        AIMessage(said[:_LONGEST_ANSWER]),
        HumanMessage(REPAIR_PROMPT.format(faults="\n".join(f"- {fault}" for fault in faults))),
    ]


def _unfit(message: str) -> APIError:
    return APIError(message, status_code=502, code="invalid_answer")


def _line(text: object) -> str:
    return " ".join(str(text)[:1_000].split())[:_LONGEST_FAULT]


def _schema_fault(schema: Json) -> str | None:
    """What keeps *schema* from being used; None if nothing does."""
    if not _is_shallow(schema):
        return f"nested too deeply: at most {_DEEPEST} levels"
    try:
        size = len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, TypeError) as error:
        return f"not JSON: {_line(error)}"
    if size > _LONGEST_SCHEMA:
        return f"larger than {_LONGEST_SCHEMA:,} bytes"
    elsewhere: list[str] = []
    _with_references(schema, lambda reference: _noted(reference, elsewhere))
    if elsewhere:
        return f"$ref {elsewhere[0]!r:.100} points out of the schema: expected #/…, nothing is fetched"
    try:
        _validator(schema)
    except ValueError as error:
        return f"not a JSON schema: {_line(str(error).splitlines()[0])}"
    return None


def _noted(reference: str, elsewhere: list[str]) -> str:
    if reference != "#" and not reference.startswith("#/"):
        elsewhere.append(reference)
    return reference


def _is_shallow(schema: Any) -> bool:
    level = [schema]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in _children(node)]
        if not level:
            return True
    return False


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _validator(schema: Json) -> Validator:
    # Takes longer to import than all of this package.
    import jsonschema_rs

    # Schemas come from clients: patterns in linear time, nothing is fetched.
    linear = jsonschema_rs.RegexOptions()
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, pattern_options=linear, offline=True)
