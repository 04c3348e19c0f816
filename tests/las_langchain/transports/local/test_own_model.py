"""A user's own GGUF file in place of the embedded chat model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from las_langchain import errors
from las_langchain.providers import resolve
from las_langchain.settings import load_settings
from las_langchain.transports.local import LocalTransport
from las_langchain.transports.local.weights import CHAT
from tests.las_langchain.transports.blocking import Blocking
from tests.tiny_vision import png_url, write_projector

# The tool-aware template of the Hermes and Qwen families, in short.
TOOL_TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call functions. <tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
Answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.fixture(scope="module")
def tool_model(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's weights with a template that knows tools."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "template.jinja").write_text(TOOL_TEMPLATE)
    target = folder / "My Tools.Q4.gguf"
    command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--force"]
    template = ["--chat-template-file", str(folder / "template.jinja")]
    subprocess.run([*command, *template, str(CHAT.path(data_dir)), str(target)], check=True, capture_output=True)
    return target


def _turn(question: str, city: str, answer: str) -> list[dict]:
    call = {"id": city, "type": "function", "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": city, "content": answer},
        {"role": "assistant", "content": f"It is {answer}."},
    ]


async def test_it_answers_under_its_own_name_and_calls_tools_natively(tool_model: Path) -> None:
    settings = load_settings(local_model=tool_model, local_context=2048, local_parallel=1, local_threads=1)
    target = resolve(settings.model, settings)
    assert target.id == "local/my-tools.q4"
    transport = Blocking(LocalTransport(settings))
    parameters = {"type": "object", "properties": {"city": {"enum": ["Tokyo", "Rome"]}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": parameters}}
    messages = [{"role": "user", "content": "What's the weather in Tokyo?"}]
    body = {"messages": messages, "tools": [tool], "tool_choice": "required", "temperature": 0, "max_tokens": 40}
    # With turns to imitate even this small model calls by itself.
    turns = [*_turn("Weather in Rome?", "Rome", "rainy"), *_turn("Weather in Tokyo?", "Tokyo", "dry")]
    for choice in ("auto", "required", {"type": "function", "function": {"name": "get_weather"}}):
        shown = {**body, "messages": [*turns, {"role": "user", "content": "Weather in Rome?"}], "tool_choice": choice}
        native = transport.complete(target, shown)["choices"][0]
        assert native["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
        assert native["finish_reason"] == "tool_calls"
    # Left to itself it would talk; the caller insists.
    answer = transport.complete(target, body)["choices"][0]
    streamed = [chunk async for chunk in transport.astream(target, body)]
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"])["city"] in ("Tokyo", "Rome")
    assert answer["finish_reason"] == "tool_calls"
    assert streamed[-2]["choices"][0]["finish_reason"] == "tool_calls"
    history = [*messages, {"role": "assistant", "content": None, "tool_calls": [call]}]
    history.append({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})
    after = transport.complete(target, {"messages": history, "tools": [tool], "max_tokens": 5})
    assert after["choices"][0]["finish_reason"]
    with pytest.raises(errors.ModelNotFoundError, match=r"only local/my-tools.q4"):
        transport.complete(resolve("local/smollm2-135m-instruct", settings), body)


async def test_a_native_call_that_does_not_hold_is_never_passed_on(tool_model: Path) -> None:
    settings = load_settings(local_model=tool_model, local_context=2048, local_parallel=1, local_threads=1)
    target, transport = resolve(settings.model, settings), Blocking(LocalTransport(settings))
    # The turns make the model call with a city; the schema forbids every one that it can think of.
    forbidden = {"type": "object", "properties": {"city": {"not": {"type": "string"}}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": forbidden}}
    turns = [*_turn("Weather in Rome?", "Rome", "rainy"), *_turn("Weather in Tokyo?", "Tokyo", "dry")]
    messages = [*turns, {"role": "user", "content": "Weather in Rome?"}]
    for choice in ("auto", "required"):
        body = {"messages": messages, "tools": [tool], "tool_choice": choice, "temperature": 0, "max_tokens": 40}
        try:
            calls = transport.complete(target, body)["choices"][0]["message"].get("tool_calls", [])
        except errors.BadRequestError:
            continue
        assert all(not isinstance(json.loads(call["function"]["arguments"])["city"], str) for call in calls)
    short = {
        "messages": messages,
        "tools": [{**tool, "function": {**tool["function"], "parameters": {}}}],
        "max_tokens": 12,
    }
    for call in transport.complete(target, short)["choices"][0]["message"].get("tool_calls", []):
        json.loads(call["function"]["arguments"])


async def test_with_a_projector_it_sees(data_dir: Path, tmp_path: Path) -> None:
    write_projector(tmp_path / "mmproj.gguf")
    settings = load_settings(
        local_model=CHAT.path(data_dir), local_mmproj=tmp_path / "mmproj.gguf", local_context=2048, local_parallel=1
    )
    target, transport = resolve(settings.model, settings), Blocking(LocalTransport(settings))

    def asked(url: str) -> dict:
        parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
        return {"messages": [{"role": "user", "content": parts}], "max_tokens": 4, "temperature": 0}

    blind = {"messages": [{"role": "user", "content": "What is it?"}], "max_tokens": 4}
    seen = transport.complete(target, asked(png_url(255, 0, 0)))
    assert seen["choices"][0]["message"]["content"]
    assert seen["usage"]["prompt_tokens"] > transport.complete(target, blind)["usage"]["prompt_tokens"] + 3
    assert (await transport.acomplete(target, asked(png_url(0, 0, 255))))["choices"][0]["finish_reason"] == "length"
    for url, message in (
        ("https://example.com/cat.png", "send the image itself, as a data:image/… URL"),
        ("file:///etc/passwd", "send the image itself"),
        ("data:image/png;base64,bm90IGFuIGltYWdl", "The local engine"),
    ):
        with pytest.raises(errors.BadRequestError, match=message):
            transport.complete(target, asked(url))
