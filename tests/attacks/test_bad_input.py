"""Requests that no client should send: what each is answered, byte for byte where it matters."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.attacks.conftest import BEARER, HELLO, TOTAL_TIMEOUT
from tests.attacks.upstream import FaultyUpstream
from tests.attacks.wire import Answer, ask, request
from tests.conftest import Server

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
JSON = "Content-Type: application/json"
INVALID = "invalid_request_error"
GOOD: dict[str, Any] = {"model": "openai/gpt-4o", "messages": HELLO}
RAW_GOOD = json.dumps(GOOD).encode()
MINUTE = 60
Verdict = tuple[int, str | None, str | None, str | None]
MALFORMED: Verdict = (400, INVALID, None, None)


def post(server: Server, body: Any, *headers: str, path: str = CHAT) -> Answer:
    """The answer to a POST."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server.url, request("POST", path, BEARER, *(headers or (JSON,)), body=raw))


def deep(opening: str, closing: str = "", levels: int = 300_000) -> bytes:
    """A body that is nested as deep."""
    return (opening * levels + "1" + closing * levels).encode()[:900_000]


BODIES: dict[str, tuple[bytes, Verdict]] = {
    "nothing": (b" ", MALFORMED),
    "half": (b'{"model": "openai/gpt-4o", "messages": [', MALFORMED),
    "two": (RAW_GOOD * 2, MALFORMED),
    "single quotes": (b"{'model': 'x'}", MALFORMED),
    "comment": (b"/* x */" + RAW_GOOD, MALFORMED),
    "trailing comma": (b'{"model": "x",}', MALFORMED),
    "byte order mark": (b"\xef\xbb\xbf" + RAW_GOOD, MALFORMED),
    "utf-16": (json.dumps(GOOD).encode("utf-16"), MALFORMED),
    "latin-1": (json.dumps(GOOD, ensure_ascii=False).replace("hello", "héllo").encode("latin-1"), MALFORMED),
    "null byte": (RAW_GOOD.replace(b"hello", b"he\0llo"), MALFORMED),
    "overlong utf-8": (RAW_GOOD.replace(b"hello", b"\xc0\xaf"), MALFORMED),
    "half a surrogate": (RAW_GOOD.replace(b"hello", b"\\ud800"), MALFORMED),
    "an array": (b"[]", (400, INVALID, "invalid_value", None)),
    "a text": (b'"x"', (400, INVALID, "invalid_value", None)),
    "a number": (b"1", (400, INVALID, "invalid_value", None)),
    "null": (b"null", (400, INVALID, "invalid_value", None)),
    "NaN": (b'{"temperature": NaN}', (400, INVALID, "invalid_value", "temperature")),
    "Infinity": (b'{"temperature": -Infinity}', (400, INVALID, "invalid_value", "temperature")),
    "1e999": (b'{"temperature": 1e999}', (400, INVALID, "invalid_value", "temperature")),
    "5,000 digits": (b'{"seed": ' + b"9" * 5000 + b"}", MALFORMED),
    "nested arrays": (deep("["), MALFORMED),
    "nested arrays, closed": (deep("[", "]", 100_000), MALFORMED),
    "nested objects": (deep('{"a":', "}", 100_000), MALFORMED),
    "a form": (b"model=x&messages=y", MALFORMED),
    "empty object": (b"{}", (400, INVALID, "missing_required_parameter", "messages")),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(attacked: Server, faulty: FaultyUpstream, name: str) -> None:
    body, expected = BODIES[name]
    begun = time.monotonic()
    answer = post(attacked, body)
    assert answer.verdict == expected, answer.body
    assert len(answer.body) < 1000
    assert time.monotonic() - begun < 3
    assert faulty.requests == []


def chat(**fields: Any) -> dict[str, Any]:
    """A chat request with these fields."""
    return {**GOOD, **fields}


def said(content: Any, **fields: Any) -> dict[str, Any]:
    """A chat request with this message."""
    return {**GOOD, "messages": [{"role": "user", "content": content, **fields}]}


FIELDS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "model: number": (chat(model=5), "model", "invalid_value"),
    "model: null": (chat(model=None), "model", "invalid_value"),
    "model: empty": (chat(model=""), "model", "invalid_value"),
    "model: 1 MB": (chat(model="a" * 900_000), "model", "invalid_value"),
    "messages: null": (chat(messages=None), "messages", "invalid_value"),
    "messages: text": (chat(messages="hello"), "messages", "invalid_value"),
    "messages: object": (chat(messages={"role": "user"}), "messages", "invalid_value"),
    "messages: none": (chat(messages=[]), "messages", "invalid_value"),
    "messages: numbers": (chat(messages=[1, 2]), "messages", "invalid_value"),
    "messages: 10,001": (chat(messages=[{"role": "user", "content": ""}] * 10_001), "messages", "invalid_value"),
    "role: missing": (chat(messages=[{"content": "x"}]), "messages[0].role", None),
    "role: unknown": (chat(messages=[{"role": "root", "content": "x"}]), "messages[0].role", None),
    "role: object": (chat(messages=[{"role": {}, "content": "x"}]), "messages[0].role", None),
    "content: number": (said(5), "messages[0].content", None),
    "content: object": (said({"text": "x"}), "messages[0].content", None),
    "content: null": (said(None), "messages[0].content", None),
    "part: null": (said([None]), "messages[0].content[0]", None),
    "part: of no type": (said([{"text": "x"}]), "messages[0].content[0]", None),
    "part: image of a number": (said([{"type": "image_url", "image_url": 5}]), "messages[0].content[0]", None),
    "temperature: text": (chat(temperature="1"), "temperature", "invalid_value"),
    "temperature: true": (chat(temperature=True), "temperature", "invalid_value"),
    "temperature: 2.1": (chat(temperature=2.1), "temperature", "invalid_value"),
    "n: 0": (chat(n=0), "n", "invalid_value"),
    "n: 129": (chat(n=129), "n", "invalid_value"),
    "n: 1.5": (chat(n=1.5), "n", "invalid_value"),
    "max_tokens: -1": (chat(max_tokens=-1), "max_tokens", "invalid_value"),
    "max_tokens: 2**31": (chat(max_tokens=2**31), "max_tokens", "invalid_value"),
    "seed: 2**63": (chat(seed=2**63), "seed", "invalid_value"),
    "stream: text": (chat(stream="true"), "stream", "invalid_value"),
    "stream: 1": (chat(stream=1), "stream", "invalid_value"),
    "stop: 17": (chat(stop=["a"] * 17), "stop", "invalid_value"),
    "tools: 129": (chat(tools=[{"type": "function"}] * 129), "tools", "invalid_value"),
    "tools: text": (chat(tools="x"), "tools", "invalid_value"),
    "metadata: 17": (chat(metadata={str(number): "x" for number in range(17)}), "metadata", "invalid_value"),
    "metadata: nested": (chat(metadata={"a": {"b": "c"}}), "metadata", "invalid_value"),
    "metadata: long": (chat(metadata={"a": "x" * 513}), "metadata", "invalid_value"),
    "logit_bias: 1,025": (chat(logit_bias={str(number): 1 for number in range(1025)}), "logit_bias", "invalid_value"),
    "top_logprobs: 21": (chat(top_logprobs=21), "top_logprobs", "invalid_value"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(attacked: Server, faulty: FaultyUpstream, name: str) -> None:
    body, param, code = FIELDS[name]
    answer = post(attacked, body)
    assert answer.verdict == (400, INVALID, code, param), answer.body
    assert len(answer.body) < 1000
    assert faulty.requests == []


EMBEDDED: dict[str, tuple[Any, str]] = {
    "null": (None, "input"),
    "none": ([], "input"),
    "empty among others": (["a", ""], "input[1]"),
    "objects": ([{}], "input"),
    "100,001": (["a"] * 100_001, "input"),
    "negative token": ([-1], "input"),
    "token of 2**31": ([2**31], "input"),
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_cannot_be_embedded(attacked: Server, name: str) -> None:
    texts, param = EMBEDDED[name]
    answer = post(attacked, {"model": "local/all-minilm-l6-v2", "input": texts}, path=EMBEDDINGS)
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, INVALID, param)


def test_the_last_of_two_fields_with_one_name_counts(attacked: Server, faulty: FaultyUpstream) -> None:
    doubled = b'{"model": "oobabooga/x", "temperature": 9, ' + RAW_GOOD[1:-1] + b', "temperature": 1}'
    assert post(attacked, doubled).status == 200
    assert faulty.last.body["temperature"] == 1
    assert faulty.last.body["model"] == "gpt-4o"


@pytest.mark.parametrize(
    "text", ["\u202e\u200b\ufeff", "\U0001f600" * 100, "\x00\x1b[31m", "a\u0300" * 1000, "\\ud83d"]
)
def test_odd_letters_go_through_as_they_are(attacked: Server, faulty: FaultyUpstream, text: str) -> None:
    assert post(attacked, said(text)).status == 200
    assert faulty.last.body["messages"][0]["content"] == text


TYPES: dict[str, tuple[tuple[str, ...], Verdict]] = {
    "none": (("X: y",), (415, INVALID, None, None)),
    "text": (("Content-Type: text/plain",), (415, INVALID, None, None)),
    "form": (("Content-Type: application/x-www-form-urlencoded",), (415, INVALID, None, None)),
    "multipart": (("Content-Type: multipart/form-data; boundary=x",), (415, INVALID, None, None)),
    "almost": (("Content-Type: application/jsonp",), (415, INVALID, None, None)),
    "list": (("Content-Type: text/plain, application/json",), (415, INVALID, None, None)),
    "1 KB": (("Content-Type: " + "x" * 1000,), (415, INVALID, None, None)),
    "capital": (("Content-Type: APPLICATION/JSON; Charset=UTF-8",), (200, None, None, None)),
    "gzip": ((JSON, "Content-Encoding: gzip"), (415, INVALID, None, None)),
    "br, gzip": ((JSON, "Content-Encoding: br, gzip"), (415, INVALID, None, None)),
    "identity": ((JSON, "Content-Encoding: identity"), (200, None, None, None)),
}


@pytest.mark.parametrize("name", TYPES)
def test_declared_types(attacked: Server, name: str) -> None:
    headers, expected = TYPES[name]
    answer = post(attacked, RAW_GOOD, *headers)
    assert answer.verdict == expected
    assert len(answer.body) < 1000


def test_a_body_that_is_too_large_is_not_read(attacked: Server) -> None:
    head = request("POST", CHAT, BEARER, JSON, "Content-Length: 99999999999")
    answer = ask(attacked.url, head)
    assert answer.verdict == (413, INVALID, None, None)
    assert answer.closed


def test_who_asks_first_whether_to_send_is_told_so(attacked: Server) -> None:
    expect = (JSON, "Expect: 100-continue")
    assert post(attacked, RAW_GOOD, *expect).status == 200
    head = request("POST", CHAT, BEARER, *expect, "Content-Length: 99999999999")
    # No "100 Continue": the body would be in vain.
    assert ask(attacked.url, head).verdict == (413, INVALID, None, None)
    head = request("POST", CHAT, *expect, "Content-Length: 10")
    assert ask(attacked.url, head).verdict == (401, "authentication_error", "invalid_api_key", None)


SLOW = {"silent": b"", "byte by byte": b" ", "chunk by chunk": b"2\r\n  \r\n"}


def test_bodies_that_do_not_end_are_given_up(attacked: Server) -> None:
    with ThreadPoolExecutor() as pool:
        found = dict(zip(SLOW, pool.map(lambda piece: drip(attacked, piece), SLOW.values()), strict=True))
    for name, (answer, seconds) in found.items():
        assert answer.startswith(b"HTTP/1.1 408 "), name
        assert b"LAS_TOTAL_TIMEOUT" in answer
        assert TOTAL_TIMEOUT <= seconds < TOTAL_TIMEOUT + 5, name


def drip(server: Server, piece: bytes) -> tuple[bytes, float]:
    """What is answered to a body that comes in such pieces without end, and after how many seconds."""
    length = "Transfer-Encoding: chunked" if piece[:1] == b"2" else "Content-Length: 1000"
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=MINUTE) as client:
        client.sendall(request("POST", CHAT, BEARER, JSON, length))
        client.settimeout(0.2)
        while time.monotonic() - begun < MINUTE:
            client.sendall(piece)
            try:
                answer = client.recv(65_536)
            except TimeoutError:
                continue
            seconds = time.monotonic() - begun
            while more := client.recv(65_536):
                answer += more
            return answer, seconds
    return b"", MINUTE


HTTP: dict[str, tuple[bytes, Verdict]] = {
    "no HTTP": (b"hello\r\n\r\n", MALFORMED),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, MALFORMED),
    "HTTP/9.9": (request("GET", "/health", version="HTTP/9.9"), MALFORMED),
    "unknown method": (request("BREW", "/v1/models", BEARER), MALFORMED),
    "lower case method": (request("get", "/v1/models", BEARER), MALFORMED),
    "no path": (b"GET HTTP/1.1\r\n\r\n", MALFORMED),
    "space in the path": (request("GET", "/v1/models /x", BEARER), MALFORMED),
    "letters in the path": (request("GET", "/v1/modèles", BEARER), MALFORMED),
    "header without a colon": (request("GET", "/v1/models", "Nothing"), MALFORMED),
    "space before the colon": (request("GET", "/v1/models", "X : y"), MALFORMED),
    "folded header": (request("GET", "/v1/models", BEARER, "X: a", " b"), MALFORMED),
    "null in a header": (request("GET", "/v1/models", BEARER, "X: a\0b"), MALFORMED),
    "two lengths": (
        request("POST", CHAT, BEARER, JSON, "Content-Length: 2", "Content-Length: 3", body=b"{}"),
        MALFORMED,
    ),
    "length and chunks": (
        request("POST", CHAT, BEARER, JSON, "Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        MALFORMED,
    ),
    "negative length": (request("POST", CHAT, BEARER, JSON, "Content-Length: -1", body=b"{}"), MALFORMED),
    "length of 23 digits": (request("POST", CHAT, BEARER, "Content-Length: " + "9" * 23, body=b"{}"), MALFORMED),
    "odd chunk": (
        request("POST", CHAT, BEARER, JSON, "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
        MALFORMED,
    ),
    "chunk of 17 digits": (
        request("POST", CHAT, BEARER, JSON, "Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n"),
        MALFORMED,
    ),
    "unknown coding": (request("POST", CHAT, BEARER, JSON, "Transfer-Encoding: gzip", body=b"{}"), MALFORMED),
    "head of 100 KB": (request("GET", "/v1/models", BEARER, "X: " + "a" * 100_000), (431, INVALID, None, None)),
    "head of 5 MB": (request("GET", "/v1/models", BEARER, "X: " + "a" * 5_000_000), (431, INVALID, None, None)),
    "path of 5 MB": (request("GET", "/" + "a" * 5_000_000, BEARER), (431, INVALID, None, None)),
    "20,000 headers": (request("GET", "/v1/models", *["X: y"] * 20_000), (431, INVALID, None, None)),
    "trailers of 5 MB": (
        request("POST", CHAT, BEARER, JSON, "Transfer-Encoding: chunked", body=b"0\r\nx: " + b"a" * 5_000_000),
        (431, INVALID, None, None),
    ),
    "chunk extension of 5 MB": (
        request("POST", CHAT, BEARER, JSON, "Transfer-Encoding: chunked", body=b"2;" + b"a" * 5_000_000),
        (431, INVALID, None, None),
    ),
}


@pytest.mark.parametrize("name", HTTP)
def test_what_is_no_http(attacked: Server, name: str) -> None:
    data, expected = HTTP[name]
    answer = ask(attacked.url, data)
    assert answer.verdict == expected
    assert answer.closed
    assert ask(attacked.url, request("GET", "/health")).status == 200


UNKNOWN: Verdict = (404, INVALID, "unknown_url", None)
NO_MODEL: Verdict = (404, INVALID, "model_not_found", "model")
PATHS: dict[str, Verdict] = {
    "//v1/models": UNKNOWN,
    "/v1//models": UNKNOWN,
    "/v1/../health": UNKNOWN,
    "/health/../v1/models": UNKNOWN,
    "/%2e%2e/health": UNKNOWN,
    "/v1/models%00": UNKNOWN,
    "/V1/MODELS": UNKNOWN,
    "/v1/models;x=y": UNKNOWN,
    "/v1/models/..": NO_MODEL,
    "/v1/models/%00": NO_MODEL,
    "/v1/models/%ff%fe": NO_MODEL,
    "/v1/models/..%2f..%2fetc%2fpasswd": NO_MODEL,
    "/v1/models/" + "a" * 9000: NO_MODEL,
    "/v1%2fmodels": (200, None, None, None),
    "http://elsewhere.example/v1/models": (200, None, None, None),
    "/static-offline-docs/..%2f..%2f__init__.py": UNKNOWN,
    "/static-offline-docs/%2e%2e/__init__.py": UNKNOWN,
    "/chains/chat/playground/%00": UNKNOWN,
    "/chains/chat/playground/..%2f..%2f..%2fapi_handler.py": (404, None, None, None),
    "/chains/chat/playground/%2fetc%2fpasswd": (404, None, None, None),
    "/chains/chat/playground//etc/passwd": (404, None, None, None),
    "/chains/..%2f..%2fx/input_schema": UNKNOWN,
    "/chains/nothing/input_schema": (404, INVALID, "model_not_found", "model"),
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_paths(attacked: Server, path: str) -> None:
    answer = ask(attacked.url, request("GET", path, BEARER))
    assert answer.verdict == PATHS[path], answer.body
    assert b"root:" not in answer.body
    assert b"import " not in answer.body


METHODS = ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")


@pytest.mark.parametrize("method", METHODS)
def test_methods(attacked: Server, method: str) -> None:
    answer = ask(attacked.url, request(method, CHAT, BEARER, "Connection: close"))
    body = (None, None, None) if method == "HEAD" else (INVALID, "method_not_supported", None)
    assert answer.verdict == (405, *body)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é", "<script>", "a;b", "\t", "../x"])
def test_only_sane_request_ids_are_repeated(attacked: Server, given: str) -> None:
    answer = ask(attacked.url, request("GET", "/health", f"X-Request-ID: {given}"))
    assert answer.headers["x-request-id"].startswith("req_")
