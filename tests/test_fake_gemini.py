"""The Gemini double: what it answers, streams and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.fake_gemini import KEY, MODELS, FakeGemini, Reply, ToolCall, signature

Json = dict[str, Any]
MODEL = "gemini-2.5-flash"
NEWER = "gemini-3-pro-preview"
HELLO: Json = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}
WEATHER: Json = {
    "name": "get_weather",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
}
TOOLS = [{"functionDeclarations": [WEATHER]}]
CALL: Json = {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}}
RESULT: Json = {"functionResponse": {"name": "get_weather", "response": {"result": "4 degrees"}}}


@pytest.fixture(scope="module")
def _double() -> Iterator[FakeGemini]:
    with FakeGemini() as double:
        yield double


@pytest.fixture
def upstream(_double: FakeGemini) -> FakeGemini:
    _double.reset()
    return _double


@pytest.fixture
def client(upstream: FakeGemini) -> Iterator[httpx.Client]:
    headers = {"x-goog-api-key": KEY}
    with httpx.Client(base_url=upstream.url, headers=headers, trust_env=False, timeout=10) as client:
        yield client


def post(client: httpx.Client, body: Json, method: str = "generateContent", model: str = MODEL) -> httpx.Response:
    return client.post(f"/models/{model}:{method}", json=body)


def events(client: httpx.Client, body: Json, model: str = MODEL) -> list[Json]:
    """The events of a streamed answer."""
    answer = post(client, body, "streamGenerateContent", model)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [orjson.loads(event.removeprefix("data: ")) for event in answer.text.split("\r\n\r\n") if event]


def parts(answer: Json) -> list[Json]:
    """The parts of the only candidate."""
    (candidate,) = answer["candidates"]
    found: list[Json] = candidate["content"]["parts"]
    return found


def turns(*contents: tuple[str, Json], **fields: Any) -> Json:
    """A request of turns with one part each."""
    return {"contents": [{"role": role, "parts": [part]} for role, part in contents], **fields}


def test_an_answer_is_whole_or_a_stream_of_events(client: httpx.Client) -> None:
    whole = post(client, HELLO).json()
    assert parts(whole) == [{"text": "Echo: hello there"}]
    assert whole["candidates"][0]["finishReason"] == "STOP"
    usage = whole["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"], usage["totalTokenCount"]) == (2, 3, 5)
    streamed = events(client, HELLO)
    assert [parts(event)[0]["text"] for event in streamed] == ["Echo:", " hello", " there"]
    assert [event["candidates"][0].get("finishReason") for event in streamed] == [None, None, "STOP"]
    assert streamed[-1]["usageMetadata"] == usage


def test_names_in_either_case_and_keys_in_either_place(upstream: FakeGemini) -> None:
    config = {"generation_config": {"maxOutputTokens": 2}, "systemInstruction": {"parts": [{"text": "Be brief."}]}}
    url = f"{upstream.url}/models/{MODEL}:generateContent?key={KEY}"
    answer = httpx.post(url, json={**HELLO, **config}, trust_env=False).json()
    assert parts(answer) == [{"text": "Echo: hello"}]
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_the_obedient_model_calls_and_reads_the_result(client: httpx.Client) -> None:
    question = ("user", {"text": "The weather in Oslo?"})
    (call,) = parts(post(client, turns(question, tools=TOOLS)).json())
    assert call == CALL
    body = turns(question, ("model", call), ("user", RESULT), tools=TOOLS)
    assert parts(post(client, body).json()) == [{"text": "The result is: 4 degrees"}]


def test_newer_models_sign_their_first_call(upstream: FakeGemini, client: httpx.Client) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("get_weather", {}, "a"), ToolCall("get_weather", {}, "b")]))
    first, second = parts(post(client, {**HELLO, "tools": TOOLS}, model=NEWER).json())
    assert (first["thoughtSignature"], first["functionCall"]["id"]) == (signature("a"), "a")
    assert second == {"functionCall": {"id": "b", "name": "get_weather", "args": {}}}


def test_thoughts_are_shown_on_request(client: httpx.Client) -> None:
    body = {**HELLO, "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
    thought, said = parts(post(client, body).json())
    assert thought == {"text": "The user says: hello there", "thought": True}
    assert said == {"text": "Echo: hello there"}
    assert [part.get("thought", False) for event in events(client, body) for part in parts(event)].count(True) == 5


def test_formats(client: httpx.Client) -> None:
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    assert orjson.loads(parts(post(client, {**HELLO, "generationConfig": config}).json())[0]["text"]) == {"n": 1}


def test_a_blocked_prompt_has_no_candidates(upstream: FakeGemini, client: httpx.Client) -> None:
    upstream.enqueue(Reply(blocked="SAFETY"))
    answer = post(client, HELLO).json()
    assert answer["promptFeedback"] == {"blockReason": "SAFETY"}
    assert "candidates" not in answer


def test_embeddings_depend_on_the_text_alone(client: httpx.Client) -> None:
    model = "gemini-embedding-001"
    one = {"model": f"models/{model}", "content": {"parts": [{"text": "c"}]}, "outputDimensionality": 4}
    (values,) = post(client, {"requests": [one]}, "batchEmbedContents", model).json()["embeddings"]
    assert len(values["values"]) == 4
    assert post(client, one, "embedContent", model).json() == {"embedding": values}


def test_the_models(client: httpx.Client) -> None:
    assert [model["name"] for model in client.get("/models").json()["models"]] == [f"models/{name}" for name in MODELS]
    assert client.get(f"/models/{MODEL}").json()["supportedGenerationMethods"] == ["generateContent"]
    assert client.get("/models/nobody").status_code == 404


ASKED = ("user", {"text": "hi"})
REFUSED: list[tuple[Json, str]] = [
    ({}, "* GenerateContentRequest.contents: contents is not specified\n"),
    ({"contents": [{"role": "user", "parts": []}]}, "contents[0].parts: contents.parts must not be empty."),
    (turns(("assistant", {"text": "hi"})), "Please use a valid role: user, model."),
    ({**HELLO, "temperature": 1}, 'Unknown name "temperature": Cannot find field.'),
    ({**HELLO, "generationConfig": {"maxTokens": 1}}, "Unknown name \"maxTokens\" at 'generation_config'"),
    ({**HELLO, "generationConfig": {"maxOutputTokens": "x"}}, "'generation_config.max_output_tokens' (TYPE_INT32)"),
    ({**HELLO, "tools": [{"functionDeclarations": [{**WEATHER, "strict": True}]}]}, 'Unknown name "strict"'),
    (
        {**HELLO, "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": ["STRING", "NULL"]}}]}]},
        "Proto field is not repeating, cannot start list.",
    ),
    (
        {**HELLO, "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "ARRAY"}}]}]},
        "function_declarations[0].parameters.items: missing field.",
    ),
    (turns(("user", {"text": "hi", "inlineData": {"mimeType": "image/png", "data": ""}})), "oneof field 'data'"),
    (turns(("user", {"inlineData": {"mimeType": "image/png", "data": "data:image/png"}})), "Base64 decoding failed"),
    (turns(("user", {"functionResponse": {**RESULT["functionResponse"], "response": "4"}})), "google.protobuf.Struct"),
    (turns(ASKED, ("user", RESULT)), "function response turn comes immediately after a function call turn"),
    (turns(ASKED, ("model", CALL)), "number of function response parts is equal to the number of function call parts"),
    (turns(("model", CALL), ("user", RESULT)), "function call turn comes immediately after a user turn"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_what_google_refuses(client: httpx.Client, body: Json, message: str) -> None:
    answer = post(client, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert message in error["message"]


def test_newer_models_want_their_signatures_back(client: httpx.Client) -> None:
    body = turns(ASKED, ("model", CALL), ("user", RESULT), tools=TOOLS)
    assert "missing a thought_signature" in post(client, body, model=NEWER).json()["error"]["message"]
    body["contents"][1]["parts"] = [{**CALL, "thoughtSignature": "skip_thought_signature_validator"}]
    assert post(client, body, model=NEWER).status_code == 200


def test_too_many_embeddings_are_refused(client: httpx.Client) -> None:
    model = "gemini-embedding-001"
    one = {"model": f"models/{model}", "content": {"parts": [{"text": "c"}]}}
    answer = post(client, {"requests": [one] * 101}, "batchEmbedContents", model)
    assert "at most 100 requests can be in one batch" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "name"), [({}, 403, "PERMISSION_DENIED"), ({"x-goog-api-key": "x"}, 400, "INVALID_ARGUMENT")]
)
def test_a_missing_or_a_wrong_key(upstream: FakeGemini, headers: dict[str, str], status: int, name: str) -> None:
    url = f"{upstream.url}/models/{MODEL}:generateContent"
    answer = httpx.post(url, json=HELLO, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["status"]) == (status, name)


@pytest.mark.parametrize("path", ["/models/nobody:generateContent", f"/models/{MODEL}:embedContent", "/models/x:sing"])
def test_what_is_not_there(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"content": {"parts": [{"text": "c"}]}} if "embed" in path else HELLO)
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_a_failure_in_mid_stream_is_an_event(upstream: FakeGemini, client: httpx.Client) -> None:
    error = {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}
    upstream.enqueue(Reply(text="a b c", cut_after=1, error_event=error))
    assert events(client, HELLO)[1:] == [{"error": error}]
