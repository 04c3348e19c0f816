"""AWS Bedrock: what it gets, signed, and what the caller gets of its answers and binary streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from las_langchain import errors
from las_langchain.providers import Target
from las_langchain.settings import load_settings
from tests.fake_bedrock import (
    ACCESS_KEY,
    BEARER_KEY,
    CHAT_MODELS,
    EMBEDDING_MODELS,
    REGION,
    SECRET_KEY,
    SESSION_TOKEN,
    FakeBedrock,
    Reply,
    ToolCall,
)
from tests.las_langchain.contracts.cases import PNG_DATA, WAYS, Json, ask, asked, embed, failure, shown, target_of
from tests.las_langchain.contracts.round_trips import (
    EMBEDDING_WAYS,
    FAULT_WAYS,
    STREAMS,
    TOOL_REQUEST,
    call,
    check_stream,
    check_text,
    no_variables,
    nobody_else_asked,
    stream,
    use_tool,
)

__all__ = ["no_variables", "nobody_else_asked"]

CHAT = f"bedrock/{CHAT_MODELS[0]}"
UNLISTED = f"bedrock/{CHAT_MODELS[2]}"
VECTORS = f"bedrock/{EMBEDDING_MODELS[0]}"
MODELS = {**dict.fromkeys(WAYS, CHAT), **dict.fromkeys(EMBEDDING_WAYS, VECTORS)}
CREDENTIALS = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "aws_region_name": REGION}
TOOL = TOOL_REQUEST["tools"][0]["function"]
SPEC = {
    "toolSpec": {
        "name": TOOL["name"],
        "description": TOOL["description"],
        "inputSchema": {"json": TOOL["parameters"]},
    }
}


@pytest.fixture(scope="module")
def running() -> Iterator[FakeBedrock]:
    with FakeBedrock() as double:
        yield double


@pytest.fixture(autouse=True)
def own_credentials_only(no_variables: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AWS's libraries find no credentials of this machine, and ask no metadata service for any."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def double(running: FakeBedrock) -> FakeBedrock:
    running.reset()
    return running


def of(double: FakeBedrock, model: str = CHAT, **provider: Any) -> Target:
    """Where calls of a model of the double go."""
    return target_of(model, **{"base_url": double.url, "options": CREDENTIALS, **provider})


def path_of(model: str, operation: str) -> str:
    return f"/model/{model.removeprefix('bedrock/').replace(':', '%3A')}/{operation}"


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(double: FakeBedrock, way: str) -> None:
    body: Json = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"}],
        "max_tokens": 20,
        "temperature": 0.5,
        "stop": ["never"],
    }
    said = await ask(of(double, headers={"x-team": "red"}), body, way)
    assert (said.content, said.finish_reason, said.tokens) == ("Echo: hello there", "stop", (4, 3, 7))
    (got,) = double.requests
    assert (got.method, got.query, got.headers["x-team"]) == ("POST", {}, "red")
    assert got.raw_path == path_of(CHAT, "converse-stream" if way in STREAMS else "converse")
    assert got.headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/")
    assert (
        f"/{REGION}/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, " in got.headers["authorization"]
    )
    assert got.body == {
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "hello there"}]}],
        "inferenceConfig": {"maxTokens": 20, "temperature": 0.5, "stopSequences": ["never"]},
    }


def test_a_stream_is_as_openai_sends_it(double: FakeBedrock) -> None:
    double.enqueue(Reply(text="a b c"))
    check_stream(stream(of(double), "hello"), "a b c")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", CHAT_MODELS)
async def test_a_tool_is_called_and_its_result_sent(double: FakeBedrock, model: str, way: str) -> None:
    called, told = await use_tool(of(double, f"bedrock/{model}"), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert called.content is None
    assert all(call.keys() == {"id", "type", "function"} for call in called.message["tool_calls"])
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    assert double.last.body["toolConfig"]["tools"] == [SPEC]
    _, use, result = double.last.body["messages"]
    id_ = called.message["tool_calls"][0]["id"]
    wanted = {"toolUseId": id_, "name": "get_weather", "input": {"city": "Oslo"}}
    assert use == {"role": "assistant", "content": [{"toolUse": wanted}]}
    answered = {"toolUseId": id_, "content": [{"text": "4 degrees"}]}
    assert result == {"role": "user", "content": [{"toolResult": answered}]}


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_keep_their_order(double: FakeBedrock, way: str) -> None:
    double.enqueue(Reply(tool_calls=[ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]))
    said = await ask(of(double), TOOL_REQUEST, way)
    assert [one["id"] for one in said.message["tool_calls"]] == ["Oslo", "Rome"]
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]


CHOICES: list[tuple[Any, Json]] = [
    ("auto", {"auto": {}}),
    ("required", {"any": {}}),
    ({"type": "function", "function": {"name": "get_weather"}}, {"tool": {"name": "get_weather"}}),
]


@pytest.mark.parametrize("model", [CHAT, UNLISTED])
@pytest.mark.parametrize(("choice", "wanted"), CHOICES)
async def test_the_choice_of_a_tool(double: FakeBedrock, model: str, choice: Any, wanted: Json) -> None:
    """Also for a model that litellm's price list does not have (yet)."""
    said = await ask(of(double, model), {**TOOL_REQUEST, "tool_choice": choice}, "acomplete")
    assert said.calls == [("get_weather", {"city": "Oslo"})]
    assert double.last.body["toolConfig"] == {"tools": [SPEC], "toolChoice": wanted}


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_sent_as_its_bytes(double: FakeBedrock, way: str) -> None:
    said = await ask(of(double), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    image = {"format": "png", "source": {"bytes": PNG_DATA}}
    assert double.last.body["messages"] == [{"role": "user", "content": [{"text": "What is this?"}, {"image": image}]}]


@pytest.mark.parametrize("way", WAYS)
async def test_reasoning_is_where_all_providers_have_it(double: FakeBedrock, way: str) -> None:
    double.enqueue(Reply(text="a b c", reasoning="why not"))
    said = await ask(of(double), asked("hello"), way)
    assert (said.message["reasoning_content"], said.content) == ("why not", "a b c")
    assert said.message["thinking_blocks"][-1]["signature"]


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_cache_gave_is_counted(double: FakeBedrock, way: str) -> None:
    counted = {"inputTokens": 2, "outputTokens": 3, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7}
    double.enqueue(Reply(text="a b c", usage=counted))
    said = await ask(of(double), asked("hello"), way)
    assert said.tokens == (14, 3, 17)
    assert said.usage
    assert said.usage["prompt_tokens_details"]["cached_tokens"] == 5
    assert said.usage["cache_creation_input_tokens"] == 7


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_tokens", "length"), ("stop_sequence", "stop"), ("guardrail_intervened", "content_filter")],
)
async def test_why_an_answer_ended(double: FakeBedrock, reason: str, finish: str) -> None:
    for way in ("acomplete", "astream"):
        double.enqueue(Reply(text="a b", stop_reason=reason))
        assert (await ask(of(double), asked("hello"), way)).finish_reason == finish


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings_of_titan(double: FakeBedrock, way: str) -> None:
    target = of(double, VECTORS, headers={"x-team": "red"})
    answer = await embed(target, {"input": ["one", "two words"], "dimensions": 256}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 256), (1, 256)]
    assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
    assert answer["usage"]["prompt_tokens"] == 3
    assert [got.raw_path for got in double.requests] == [path_of(VECTORS, "invoke")] * 2
    assert [got.body["inputText"] for got in double.requests] == ["one", "two words"]
    assert (double.last.body["dimensions"], double.last.headers["x-team"]) == (256, "red")
    assert "AWS4-HMAC-SHA256" in double.last.headers["authorization"]


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings_of_cohere(double: FakeBedrock, way: str) -> None:
    model = f"bedrock/{EMBEDDING_MODELS[2]}"
    answer = await embed(of(double, model), {"input": ["one", "two words"]}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 1024), (1, 1024)]
    (got,) = double.requests
    assert got.raw_path == path_of(model, "invoke")
    assert got.body == {"texts": ["one", "two words"], "input_type": "search_document"}


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_a_wrong_secret(double: FakeBedrock, way: str) -> None:
    options = {**CREDENTIALS, "aws_secret_access_key": "wrong-secret-0123", "aws_session_token": SESSION_TOKEN}
    with pytest.raises(errors.PermissionDeniedError, match="does not match the signature you provided") as info:
        await call(of(double, MODELS[way], options=options), way)
    assert (info.value.status_code, len(double.requests)) == (403, 1)
    check_text(info.value, "wrong-secret-0123", SESSION_TOKEN, ACCESS_KEY)


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
@pytest.mark.parametrize(
    ("option", "value"), [("aws_access_key_id", "AKIAWRONGWRONGWRONG1"), ("aws_region_name", "us-east-1")]
)
async def test_wrong_credentials(double: FakeBedrock, option: str, value: str, way: str) -> None:
    with pytest.raises(errors.PermissionDeniedError) as info:
        await call(of(double, MODELS[way], options={**CREDENTIALS, option: value}), way)
    assert info.value.status_code == 403
    check_text(info.value, "AKIAWRONG", SECRET_KEY)


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_no_credentials_name_their_variables(double: FakeBedrock, way: str) -> None:
    with pytest.raises(errors.AuthenticationError, match="AWS_ACCESS_KEY_ID") as info:
        await call(of(double, MODELS[way], options={"aws_region_name": REGION}), way)
    assert not double.requests
    check_text(info.value)


@pytest.mark.parametrize("way", FAULT_WAYS)
async def test_an_unknown_model(double: FakeBedrock, way: str) -> None:
    error = await failure(of(double, "bedrock/converse/nobody.none-v1:0"), asked("hello"), way)
    assert isinstance(error, errors.ModelNotFoundError)
    assert (error.status_code, error.code) == (404, "model_not_found")
    check_text(error)


FAULTS: list[tuple[int, type[errors.LASError]]] = [
    (400, errors.BadRequestError),
    (403, errors.PermissionDeniedError),
    (404, errors.ModelNotFoundError),
    (408, errors.APITimeoutError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
@pytest.mark.parametrize(("status", "kind"), FAULTS)
async def test_faults(double: FakeBedrock, status: int, kind: type[errors.LASError], way: str) -> None:
    double.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    with pytest.raises(kind) as info:
        await call(of(double, MODELS[way]), way)
    error = info.value
    # litellm takes Bedrock's 500 for a 503.
    assert error.status_code in ((500, 503) if status == 500 else (status,))
    assert (error.retry_after, len(double.requests)) == (7, 1)
    check_text(error, SECRET_KEY)


@pytest.mark.parametrize(("after", "way"), [(0, "astream"), (1, "stream"), (2, "astream"), (4, "astream")])
async def test_a_stream_that_is_cut(double: FakeBedrock, after: int, way: str) -> None:
    double.enqueue(Reply(text="a b c d e f", cut_after=after))
    error = await failure(of(double), asked("hello"), way)
    assert isinstance(error, errors.APIConnectionError)
    check_text(error)


EXCEPTIONS: list[tuple[str, type[errors.LASError]]] = [
    ("throttlingException", errors.RateLimitError),
    ("internalServerException", errors.APIError),
    ("modelStreamErrorException", errors.LASError),
    ("serviceUnavailableException", errors.ServiceUnavailableError),
    ("validationException", errors.BadRequestError),
]


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(("name", "kind"), EXCEPTIONS)
async def test_an_exception_in_a_stream(
    double: FakeBedrock, name: str, kind: type[errors.LASError], after: int
) -> None:
    fault = {"type": name, "message": "The model fell over."}
    double.enqueue(Reply(text="a b c d e f", cut_after=after, error_event=fault))
    error = await failure(of(double), asked("hello"), "astream")
    assert isinstance(error, kind)
    assert "The model fell over." in str(error)
    check_text(error)


async def test_a_server_that_is_not_there(double: FakeBedrock) -> None:
    for way in ("acomplete", "astream"):
        error = await failure(of(double, base_url="http://127.0.0.1:9"), asked("hello"), way)
        assert isinstance(error, errors.APIConnectionError)
        assert "\n" not in str(error)


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
async def test_credentials_come_from_the_variables(
    double: FakeBedrock, monkeypatch: pytest.MonkeyPatch, region: str, way: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    monkeypatch.setenv(region, REGION)
    await call(of(double, MODELS[way], options={}), way)
    assert double.last.headers["x-amz-security-token"] == SESSION_TOKEN
    assert "x-amz-security-token" in double.last.headers["authorization"]


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_the_endpoint_comes_from_its_variable(
    double: FakeBedrock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("AWS_BEDROCK_RUNTIME_ENDPOINT", double.url)
    await call(of(double, MODELS[way], base_url=None), way)
    assert len(double.requests) == 1


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_settings_come_before_the_variables(
    double: FakeBedrock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("AWS_BEDROCK_RUNTIME_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONGWRONGWRONG1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of those")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    await call(of(double, MODELS[way]), way)
    assert len(double.requests) == 1


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_an_api_key_in_place_of_credentials(
    double: FakeBedrock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    region = {"aws_region_name": REGION}
    await call(of(double, MODELS[way], api_key=BEARER_KEY, options=region), way)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", BEARER_KEY)
    await call(of(double, MODELS[way], options=region), way)
    assert [got.headers["authorization"] for got in double.requests] == [f"Bearer {BEARER_KEY}"] * 2
    with pytest.raises(errors.PermissionDeniedError, match="make sure your API Key is valid") as info:
        await call(of(double, MODELS[way], api_key="wrong-key-0123456789", options=region), way)
    check_text(info.value, "wrong-key-0123456789")


def test_secrets_in_options_are_not_shown() -> None:
    settings = load_settings(providers={"bedrock": {"options": CREDENTIALS}})
    assert SECRET_KEY not in repr(settings)
    assert SECRET_KEY not in repr(target_of(CHAT, options=CREDENTIALS))


def test_the_double_is_one_for_amazons_own_client(double: FakeBedrock) -> None:
    """Its signatures, its framing and its shapes are those that botocore makes and reads."""
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    given = {"endpoint_url": double.url, "region_name": REGION, "aws_access_key_id": ACCESS_KEY, "config": once}
    client = boto3.client("bedrock-runtime", aws_secret_access_key=SECRET_KEY, **given)
    messages = [{"role": "user", "content": [{"text": "the weather in Oslo"}]}]
    whole = client.converse(modelId=CHAT_MODELS[0], messages=messages, toolConfig={"tools": [SPEC]})
    assert whole["output"]["message"]["content"][0]["toolUse"]["input"] == {"city": "Oslo"}
    events = client.converse_stream(modelId=CHAT_MODELS[0], messages=messages, toolConfig={"tools": [SPEC]})["stream"]
    pieces = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event
    ]
    assert json.loads("".join(pieces)) == {"city": "Oslo"}
    double.enqueue(Reply(text="a b", error_event={"type": "throttlingException", "message": "slow"}))
    broken = client.converse_stream(modelId=CHAT_MODELS[0], messages=messages)["stream"]
    with pytest.raises(botocore.exceptions.EventStreamError, match="throttlingException"):
        list(broken)
    stranger = boto3.client("bedrock-runtime", aws_secret_access_key="wrong", **given)
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidSignatureException"):
        stranger.converse(modelId=CHAT_MODELS[0], messages=messages)
