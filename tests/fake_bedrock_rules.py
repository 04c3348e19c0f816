"""The rules of Amazon Bedrock for requests: what it refuses and with which error."""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate

from tests.fake_bedrock_wire import AwsError
from tests.fake_server import JSON

CHAT_MODELS = (
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.amazon.nova-lite-v1:0",
    "anthropic.claude-3-sonnet-20240229-v1:0",
)
EMBEDDING_MODELS = ("amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1", "cohere.embed-english-v3")
_IMAGES = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8", "webp": b"RIFF"}
_SIZES = (256, 512, 1024)
_TITAN_V2 = frozenset({"inputText", "dimensions", "normalize", "embeddingTypes"})
_COHERE = frozenset({"texts", "input_type", "truncate", "embedding_types", "images"})
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering")


def check_converse(model: str, body: Any) -> None:
    """Refuse a Converse request that Bedrock would refuse.

    Raises:
        AwsError: with status 400.
    """
    if model not in CHAT_MODELS:
        raise invalid("The provided model identifier is invalid.")
    if not isinstance(body, dict):
        raise AwsError(400, "SerializationException", "Start of structure or map found where not expected.")
    report = botocore.validate.ParamValidator().validate({**body, "modelId": model}, _shape("ConverseRequest"))
    if report.has_errors():
        raise invalid(report.generate_report())
    _check_turns(body.get("messages") or [])
    _check_tools(body)


def check_embedding(model: str, body: Any) -> None:
    """Refuse an InvokeModel request for embeddings that Bedrock would refuse.

    Raises:
        AwsError: with status 400.
    """
    if model not in EMBEDDING_MODELS:
        raise invalid("The provided model identifier is invalid.")
    if not isinstance(body, dict):
        raise invalid("Malformed input request, please reformat your input and try again.")
    if model.startswith("cohere."):
        _check_keys(body, _COHERE, ("texts", "input_type"))
        if body["input_type"] not in _INPUT_TYPES or not 0 < len(body["texts"]) <= 96:
            raise invalid("Malformed input request: #/input_type or #/texts is not valid.")
        return
    _check_keys(body, _TITAN_V2 if "v2" in model else frozenset({"inputText"}), ("inputText",))
    if not body["inputText"] or body.get("dimensions", _SIZES[0]) not in _SIZES:
        raise invalid("Malformed input request: #/inputText or #/dimensions is not valid.")


def invalid(message: str) -> AwsError:
    """The refusal of a request that is not valid."""
    return AwsError(400, "ValidationException", message)


def blocks_of(messages: Sequence[JSON], kind: str) -> Iterator[JSON]:
    """All content blocks of one kind."""
    return (block[kind] for message in messages for block in message["content"] if kind in block)


@functools.cache
def _shape(name: str) -> botocore.model.Shape:
    described = botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2")
    return botocore.model.ServiceModel(described).shape_for(name)


def _check_keys(body: JSON, known: frozenset[str], required: Sequence[str]) -> None:
    for name in body.keys() - known:
        raise invalid(f"Malformed input request: extraneous key [{name}] is not permitted, please reformat your input.")
    for name in required:
        if name not in body:
            raise invalid(f"Malformed input request: #: required key [{name}] not found, please reformat your input.")


def _check_turns(messages: Sequence[JSON]) -> None:
    """Refuse a conversation whose turns do not alternate, or whose blocks say nothing."""
    if not messages or messages[0]["role"] != "user":
        raise invalid("A conversation must start with a user message. Try again with a conversation that does.")
    for before, after in itertools.pairwise(messages):
        if before["role"] == after["role"]:
            raise invalid("A conversation must alternate between user and assistant roles.")
    for index, message in enumerate(messages):
        if not message["content"]:
            raise invalid(f"The content field in the Message object at messages.{index} is empty.")
        for place, block in enumerate(message["content"]):
            _check_block(block, f"messages.{index}.content.{place}")


def _check_block(block: JSON, path: str) -> None:
    if len(block) != 1:
        raise invalid(f"The ContentBlock object at {path} must set exactly one member.")
    if "text" in block and not block["text"].strip():
        raise invalid(f"The text field in the ContentBlock object at {path} is blank.")
    if "image" in block:
        _check_image(block["image"], path)


def _check_image(image: JSON, path: str) -> None:
    try:
        data = base64.b64decode(image["source"].get("bytes", ""), validate=True)
    except binascii.Error:
        raise invalid(f"The bytes of the image at {path} are not base64.") from None
    if not data.startswith(_IMAGES[image["format"]]):
        raise invalid(f"The model returned the following errors: {path}: Could not process image")


def _check_tools(body: JSON) -> None:
    """Refuse tool blocks without tools, and results that answer no call or leave one unanswered."""
    messages = body["messages"]
    if "toolConfig" not in body and (any(blocks_of(messages, "toolUse")) or any(blocks_of(messages, "toolResult"))):
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    for before, after in zip(messages, [*messages[1:], {"content": []}], strict=True):
        called = {use["toolUseId"] for use in blocks_of([before], "toolUse")}
        answered = {result["toolUseId"] for result in blocks_of([after], "toolResult")}
        if called != answered:
            raise invalid("Expected toolResult blocks for the toolUse blocks of the turn before, and for no others.")
