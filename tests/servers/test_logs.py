"""The server's log lines, as a process writes them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import warm
from tests.fake_openai import FakeOpenAI, Reply

KEY = "sk-proj-a-key-that-nobody-may-see"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
BEGIN = """
    import logging
    from las_langchain.callers import calling
    from las_langchain.settings import load_settings
    from servers.logs import configure_logging
    configure_logging(load_settings())
    log = logging.getLogger("las_langchain.example")
"""


def cold(*arguments: str) -> list[str]:
    """An interpreter that has imported nothing."""
    return [sys.executable, *arguments]


def logged(script: str, log_format: str = "text", *, python: Callable[..., list[str]] = cold) -> list[str]:
    """The lines that *script* writes to standard error, after logging is configured; nothing goes anywhere else."""
    done = subprocess.run(
        python("-c", textwrap.dedent(BEGIN) + textwrap.dedent(script)),
        env={**os.environ, "LAS_LOG_FORMAT": log_format},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def logged_json(script: str) -> list[dict[str, Any]]:
    """The same as JSON."""
    return [json.loads(line) for line in logged(script, "json")]


def test_a_text_line_is_for_people() -> None:
    script = """
    log.info("%d cats", 2)
    with calling(request_id="req_1", key_id="key-0123456789ab"):
        log.warning("a dog")
    """
    first, second = logged(script)
    assert re.fullmatch(TIME + " INFO las_langchain.example 2 cats", first)
    assert re.fullmatch(TIME + r" WARNING las_langchain.example \[req_1\] a dog", second)


def test_a_json_line_is_for_machines() -> None:
    script = """
    log.info("%d cats", 2)
    with calling(request_id="req_1", key_id="key-0123456789ab", chain="agent"):
        log.warning("a dog")
    """
    first, second = logged_json(script)
    assert first.keys() == {"time", "level", "logger", "message"}
    assert (first["level"], first["logger"], first["message"]) == ("INFO", "las_langchain.example", "2 cats")
    assert timedelta() <= datetime.now(UTC) - datetime.fromisoformat(first["time"]) < timedelta(minutes=1)
    assert {name: second[name] for name in ("request_id", "key_id", "chain")} == {
        "request_id": "req_1",
        "key_id": "key-0123456789ab",
        "chain": "agent",
    }


ACCESS = """
    told = {"method": "GET", "route": "/v1/models", "status": 200, "seconds": 0.25, "request_id": "req_1"}
    told |= {"key_id": "key-0123456789ab", "prompt": "a private matter"}
    logging.getLogger("las.access").info("GET /v1/models 200 0.250 s", extra=told)
"""


def test_an_access_line_names_the_key() -> None:
    [line] = logged(ACCESS)
    expected = r" INFO las\.access \[req_1\] GET /v1/models 200 0\.250 s key_id=key-0123456789ab"
    assert re.fullmatch(TIME + expected, line)


def test_an_access_line_has_its_fields_and_no_others() -> None:
    [line] = logged_json(ACCESS)
    del line["time"]
    assert line == {
        "level": "INFO",
        "logger": "las.access",
        "message": "GET /v1/models 200 0.250 s",
        "request_id": "req_1",
        "key_id": "key-0123456789ab",
        "method": "GET",
        "route": "/v1/models",
        "status": 200,
        "seconds": 0.25,
    }


BROKEN = """
    try:
        raise ValueError("bad\\n2026-01-01T00:00:00.000Z INFO las.access forged")
    except ValueError:
        log.exception("It broke")
"""


def test_a_traceback_is_indented_so_that_it_forges_no_line() -> None:
    first, *rest = logged(BROKEN)
    assert re.fullmatch(TIME + " ERROR las_langchain.example It broke", first)
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-2:] == ["    ValueError: bad", "    2026-01-01T00:00:00.000Z INFO las.access forged"]
    assert all(line.startswith("    ") for line in rest)


def test_a_traceback_is_a_field() -> None:
    [line] = logged_json(BROKEN)
    assert line["message"] == "It broke"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: bad\n" in line["exception"]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_stack_is_told(log_format: str) -> None:
    assert "Stack (most recent call last):" in "\n".join(logged('log.warning("here", stack_info=True)', log_format))


def test_a_message_is_one_line() -> None:
    texts = [f"one{control}two" for control in "\n\r\x1b\u2028\x00\x85"]
    script = f"""
    for text in {texts!r}:
        log.warning("%s", text)
    """
    shown = [line.rpartition(" ")[2] for line in logged(script)]
    assert shown == [rf"one\{control}two" for control in ("n", "r", "x1b", "u2028", "x00", "x85")]
    assert [line["message"] for line in logged_json(script)] == texts


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_told(log_format: str) -> None:
    script = f"""
    log.warning("the key {KEY}")
    log.warning("the key %s", {KEY!r})
    log.warning({{"key": {KEY!r}}})
    with calling(request_id={KEY!r}, chain={KEY!r}):
        log.warning("in a context")
    try:
        raise ValueError({KEY!r})
    except ValueError:
        log.exception("it broke", extra={{"key": {KEY!r}}})
        text = logging.Formatter().formatException(__import__("sys").exc_info())
    kept = logging.makeLogRecord({{"name": "las", "levelno": 30, "levelname": "WARNING", "msg": "x", "exc_text": text}})
    logging.getLogger("las").handle(kept)
    """
    lines = "\n".join(logged(script, log_format))
    assert KEY not in lines
    assert "nobody-may-see" not in lines
    assert lines.count("***") >= 6


def test_doing_it_again_changes_the_form_and_doubles_nothing() -> None:
    script = """
    configure_logging(load_settings())
    log.warning("text")
    configure_logging(load_settings(log_format="json"))
    log.warning("json")
    """
    first, second = logged(script)
    assert first.endswith(" text")
    assert json.loads(second)["message"] == "json"


def test_the_handlers_of_others_stay() -> None:
    script = """
    import sys
    class Others(logging.Handler):
        def emit(self, record):
            print("others:", record.getMessage(), file=sys.stderr)
    logging.getLogger().addHandler(Others())
    configure_logging(load_settings())
    log.warning("a dog")
    """
    assert sorted(line.split()[-3:] for line in logged(script))[1] == ["others:", "a", "dog"]


def test_only_warnings_of_others_are_told() -> None:
    script = """
    for name in ("httpx", "anything", "las_langchain", "chains", "servers", "las"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).warning("warning of %s", name)
    """
    told = [" ".join(line.split()[3:]) for line in logged(script)]
    assert told[:2] == ["warning of httpx", "warning of anything"]
    assert told[2:] == [
        f"{level} of {name}" for name in ("las_langchain", "chains", "servers", "las") for level in ("info", "warning")
    ]


@pytest.mark.parametrize("first", ["", "uvicorn.Config(None)"], ids=["", "after uvicorn's own"])
def test_uvicorns_lines_go_the_same_way_and_its_access_lines_nowhere(first: str) -> None:
    script = f"""
    import uvicorn
    {first}
    configure_logging(load_settings())
    uvicorn.Config(None, log_config=None, log_level="warning", access_log=False)
    logging.getLogger("uvicorn.error").error("It is on fire")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.access").info("GET /?key=x")
    logging.getLogger("uvicorn.access").warning("GET /?key=x")
    """
    [line] = logged_json(script)
    assert (line["logger"], line["message"]) == ("uvicorn.error", "It is on fire")


def test_litellms_lines_go_the_same_way_once_whenever_it_is_imported() -> None:
    script = """
    import las_langchain.transports.litellm
    names = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
    def tell():
        for name in names:
            logging.getLogger(name).debug("a prompt")
            logging.getLogger(name).info("a prompt")
            logging.getLogger(name).error("It is on fire")
    tell()
    configure_logging(load_settings())
    tell()
    """
    told = [(line["logger"], line["message"]) for line in logged_json(script)]
    assert told == [(name, "It is on fire") for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")] * 2


@pytest.mark.usefixtures("warm_python")
def test_no_prompt_is_told_of_calls_good_or_bad(upstream: FakeOpenAI) -> None:
    upstream.enqueue(
        Reply(content="a private answer"),
        Reply(status=500),
        Reply(status=400, error={"message": f"no such thing as {KEY}", "type": "invalid_request_error"}),
    )
    script = """
    import contextlib
    from las_langchain.errors import LASError
    from las_langchain.service import LiteLLMService
    service = LiteLLMService(load_settings(max_retries=0))
    messages = [{"role": "user", "content": "a private matter"}]
    for _ in range(3):
        with contextlib.suppress(LASError):
            service.complete(service.target("openai/gpt-4o"), {"messages": messages})
    log.warning("the end")
    """
    lines = logged(script, python=warm.command)
    assert len(upstream.requests) == 3
    assert lines[-1].endswith("the end")
    assert "private" not in "\n".join(lines)
    assert KEY not in "\n".join(lines)


@pytest.mark.usefixtures("warm_python")
@pytest.mark.parametrize("log_prompts", [False, True])
def test_what_a_provider_repeats_of_a_prompt_is_told_where_prompts_are(
    upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, log_prompts: bool
) -> None:
    monkeypatch.setenv("LAS_LOG_PROMPTS", str(log_prompts))
    repeated = {"message": "Input should be short: a private matter", "code": "unprocessable"}
    refused, broken = (Reply(status=status, error=repeated) for status in (422, 500))
    upstream.enqueue(refused, Reply(), refused, Reply(), broken)
    script = """
    from fastapi.testclient import TestClient
    from las_langchain import ChatLAS
    from las_langchain.service import LiteLLMService
    from servers.app import create_app
    entry = {"deployments": ["openai/gpt-4o"], "fallbacks": ["openai/gpt-4o-mini"]}
    settings = load_settings(max_retries=0, models={"fast": entry})
    service = LiteLLMService(settings)
    messages = [{"role": "user", "content": "a private matter"}]
    service.complete(service.target("fast"), {"messages": messages})
    ChatLAS(model="openai/gpt-4o", fallbacks=["openai/gpt-4o-mini"], service=service).invoke("a private matter")
    with TestClient(create_app(settings)) as client:
        client.post("/v1/chat/completions", json={"model": "openai/gpt-4o", "messages": messages})
    """
    lines = [line.partition(" WARNING ")[2] for line in logged(script, python=warm.command)]
    whole = "OpenAI: Input should be short: a private matter"
    why = (
        [whole] * 3
        if log_prompts
        else ["openai: BadRequestError (422, unprocessable)"] * 2 + ["openai: APIError (500, unprocessable)"]
    )
    assert lines[0] == f"las_langchain.tries fast failed, asking openai/gpt-4o-mini: {why[0]}"
    assert lines[1] == f"las_langchain.calls openai/gpt-4o failed, asking the next model: {why[1]}"
    assert re.fullmatch(rf"servers.errors \[\w+\] POST /v1/chat/completions: {re.escape(why[2])}", lines[2])
