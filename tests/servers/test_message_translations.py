"""Anthropic's requests, answers and events, translated to and from chat completions."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from las_langchain.errors import APIError, BadRequestError, LASError, RateLimitError
from servers.messages.answer import message
from servers.messages.counting import countable
from servers.messages.errors import error_body, is_anthropics, status_of
from servers.messages.models import anthropic_models
from servers.messages.names import long_names, short
from servers.messages.request import chat_body
from servers.messages.schemas import MessagesRequest
from servers.messages.shapes import checked
from servers.messages.stream import Events, encode, failed
from servers.messages.turns import Reader

Json = dict[str, Any]
CLAUDE, GPT, O3 = Reader("anthropic", "claude-sonnet-4-5"), Reader("openai", "gpt-4o"), Reader("openai", "o3-mini")
CHAIN = Reader()
CACHED: Json = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
PDF: Json = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}}
SEARCHED: Json = {
    "type": "search_result",
    "source": "https://example.com/bees",
    "title": "Bees",
    "content": [{"type": "text", "text": "They hum."}],
    "citations": {"enabled": True},
}
TOOL: Json = {"name": "look", "description": "Look", "input_schema": {"type": "object", "properties": {}}}


def use(identifier: str = "toolu_1", **more: Any) -> Json:
    return {"type": "tool_use", "id": identifier, "name": "look", "input": {"at": "ü"}, **more}


def result(content: Any = "seen", identifier: str = "toolu_1", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": identifier, "content": content, **more}


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said, **more}


def asked(*turns: Any, **fields: Any) -> Json:
    """A request whose turns are texts and blocks of a user and the model by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns or ("hi",))]
    return {"model": "m", "max_tokens": 50, "messages": messages, **fields}


def translated(request: Json, reader: Reader = GPT) -> Json:
    return chat_body(checked(MessagesRequest, request), reader)


def sent(*turns: Any, reader: Reader = GPT) -> list[Json]:
    messages: list[Json] = translated(asked(*turns), reader)["messages"]
    return messages


def test_a_plain_request_is_openais_as_it_is() -> None:
    fields = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["STOP"], "system": "Be brief."}
    assert translated(asked("hi", "ho", "hi again", **fields)) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "ho"},
            {"role": "user", "content": "hi again"},
        ],
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["STOP"],
    }


def test_cache_points_go_to_claude_and_to_no_other_model() -> None:
    request = asked(
        [text("long", **CACHED)],
        [text("ho", **CACHED), use(**CACHED)],
        [result([text("a", **CACHED), text("b")], **CACHED), {**IMAGE, **CACHED}],
        system=[text("rules", **CACHED), text("more")],
        tools=[{**TOOL, **CACHED}],
        cache_control={"type": "ephemeral"},
    )
    assert "cache_control" not in json.dumps(translated(request, GPT))
    assert "cache_control" not in json.dumps(translated(request, CHAIN))
    body = translated(request, CLAUDE)
    system, user, model, tool, picture = body["messages"]
    assert system["content"] == [text("rules", **CACHED), text("more")]
    assert user["content"] == [text("long", **CACHED)]
    assert model["content"] == [text("ho", **CACHED)]
    assert model["tool_calls"][0]["cache_control"] == tool["cache_control"] == CACHED["cache_control"]
    assert tool["content"] == [text("a", **CACHED), text("b")]
    assert picture["content"][0]["cache_control"] == body["tools"][0]["cache_control"] == CACHED["cache_control"]
    assert body["extra_body"]["cache_control"] == {"type": "ephemeral"}
    elsewhere = translated(request, Reader("bedrock", "anthropic.claude-sonnet-4-5"))
    assert elsewhere["messages"] == body["messages"]
    assert "extra_body" not in elsewhere


def test_who_shares_a_cache_is_not_passed_on() -> None:
    scoped = {"cache_control": {"type": "ephemeral", "scope": "global"}}
    (message,) = sent([text("x", **scoped)], reader=CLAUDE)
    assert message["content"] == [text("x", cache_control={"type": "ephemeral"})]


def test_results_of_tools_come_right_after_their_calls() -> None:
    turns = ["hi", [text("I look"), use("a"), use("b")], [text("and?"), result("1", "a"), result("2", "b")]]
    _, model, one, two, user = sent(*turns)
    assert model == {
        "role": "assistant",
        "content": "I look",
        "tool_calls": [
            {"id": name, "type": "function", "function": {"name": "look", "arguments": '{"at": "ü"}'}} for name in "ab"
        ],
    }
    assert one == {"role": "tool", "tool_call_id": "a", "content": "1"}
    assert two == {"role": "tool", "tool_call_id": "b", "content": "2"}
    assert user == {"role": "user", "content": "and?"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ""),
        ([], ""),
        ([text("a"), text("b")], "a\nb"),
        ([SEARCHED], "Bees\nhttps://example.com/bees\nThey hum."),
        ([{"type": "tool_reference", "tool_name": "look"}], "The tool look is there."),
        ([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}], "x"),
    ],
)
def test_results_of_tools_as_text(content: Any, expected: str) -> None:
    tool = sent("hi", [use()], [result(content)])[2]
    assert tool["content"] == expected
    failed = sent("hi", [use()], [result(content, is_error=True)])[2]
    assert failed["content"].replace("\n", "") == f"Error: {expected}".replace("\n", "")


def test_pictures_of_tools_are_a_persons_for_those_who_take_only_text_from_tools() -> None:
    turns = ["hi", [use()], [result([text("see"), IMAGE]), text("and?")]]
    _, _, tool, user = sent(*turns)
    assert tool["content"] == "see"
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert user["content"] == [text("Result of the tool call toolu_1:"), url, text("and?")]
    assert sent("hi", [use()], [result([IMAGE])])[2]["content"] == "The result follows."
    claudes = sent(*turns, reader=CLAUDE)[2]["content"]
    assert claudes == [text("see"), url]


def test_documents_with_all_that_is_known_of_them() -> None:
    about = {"title": "Bees", "context": "A book"}
    (message,) = sent([{**PDF, **about}])
    words, file = message["content"]
    assert words == text("Document: Bees\nContext: A book")
    assert file == {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0x", "filename": "Bees"}}
    inner = {"type": "content", "content": [text("a"), IMAGE]}
    (mixed,) = sent([{"type": "document", "source": inner}])
    assert [part["type"] for part in mixed["content"]] == ["text", "image_url"]
    (own,) = sent([{**PDF, **about, "citations": {"enabled": True}}], reader=CLAUDE)
    assert own["content"] == [{**PDF, **about, "citations": {"enabled": True}}]


def test_what_a_search_found_can_be_cited_by_claude() -> None:
    (message,) = sent([SEARCHED], reader=CLAUDE)
    (document,) = message["content"]
    assert (document["type"], document["title"], document["context"]) == ("document", "Bees", SEARCHED["source"])
    assert document["citations"] == {"enabled": True}


def test_thoughts_go_back_signed_and_in_order_to_claude_and_to_nobody_else() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    redacted = {"type": "redacted_thinking", "data": "zzz"}
    unsigned = {"type": "thinking", "thinking": "a chain's step", "signature": ""}
    turns = ["hi", [unsigned, signed, redacted, text("ho"), use("a"), signed, use("b")], [result("1", "a")]]
    _, first, second, *_ = sent(*turns, reader=CLAUDE)
    assert first["thinking_blocks"] == [signed, redacted]
    assert (first["content"], len(first["tool_calls"])) == ("ho", 1)
    assert second["thinking_blocks"] == [signed]
    assert second["tool_calls"][0]["id"] == "b"
    for reader in (GPT, CHAIN, Reader("local", "smollm2-135m-instruct")):
        model = sent(*turns, reader=reader)[1]
        assert model.keys() == {"role", "content", "tool_calls"}
        assert [call["id"] for call in model["tool_calls"]] == ["a", "b"]
    assert sent(*turns, reader=Reader("deepseek", "deepseek-chat"))[1]["reasoning_content"] == "a chain's step"


def test_turns_of_one_role_in_a_row_and_of_the_system_in_the_middle() -> None:
    request = asked()
    roles = ["user", "user", "system", "assistant", "assistant", "user"]
    request["messages"] = [{"role": role, "content": [text(str(index))]} for index, role in enumerate(roles)]
    assert [(one["role"], one["content"]) for one in translated(request)["messages"]] == [
        (role, str(index)) for index, role in enumerate(roles)
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True}},
            {"tool_choice": {"type": "function", "function": {"name": "look"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_choices_of_tools(fields: Json, expected: Json) -> None:
    body = translated(asked(tools=[{**TOOL, "strict": True}], **fields))
    function = {"name": "look", "description": "Look", "parameters": TOOL["input_schema"], "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert {name: body[name] for name in expected} == expected


def test_tools_with_long_names() -> None:
    name = "mcp__a-server__" + "x" * 80
    tools = [{**TOOL, "name": name}]
    request = asked("hi", [use() | {"name": name}], [result()], tools=tools, tool_choice={"type": "tool", "name": name})
    body = translated(request)
    names = {
        body["tools"][0]["function"]["name"],
        body["messages"][1]["tool_calls"][0]["function"]["name"],
        body["tool_choice"]["function"]["name"],
    }
    assert names == {short(name)}
    assert len(short(name)) == 64
    assert long_names([name, "look"]) == {short(name): name}
    assert translated(request, CLAUDE)["tools"][0]["function"]["name"] == name


@pytest.mark.parametrize(
    ("reader", "fields", "expected"),
    [
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, {"thinking"}),
        (CLAUDE, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, {"thinking", "extra_body"}),
        (CLAUDE, {"thinking": {"type": "disabled"}}, {"thinking"}),
        (GPT, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, set()),
        (CHAIN, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, set()),
        (O3, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low"),
        (O3, {"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        (O3, {"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        (O3, {"thinking": {"type": "adaptive"}}, set()),
        (O3, {"output_config": {"effort": "max"}}, "high"),
        (O3, {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, set()),
        (Reader("openrouter", "anthropic/claude-sonnet-4.5"), {"output_config": {"effort": "low"}}, "low"),
    ],
)
def test_thinking_in_the_words_of_who_is_to_think(reader: Reader, fields: Json, expected: Any) -> None:
    body = translated(asked(**fields), reader)
    told = {name: body[name] for name in ("thinking", "reasoning_effort", "extra_body") if name in body}
    if isinstance(expected, str):
        assert told == {"reasoning_effort": expected}
    else:
        assert told.keys() == expected
        assert told.get("thinking") in (None, fields.get("thinking"))


def test_what_only_anthropic_has_is_left_out_for_others() -> None:
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    fields = {"context_management": edits, "output_config": {"effort": "low", "task_budget": {"total": 9}}}
    own = translated(asked(**fields), CLAUDE)["extra_body"]
    assert own == fields
    assert "extra_body" not in translated(asked(**fields))
    assert "extra_body" not in translated(asked(context_management={"edits": []}), CLAUDE)


def test_who_asks() -> None:
    long = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "s" * 36})
    request = asked(metadata={"user_id": long})
    assert translated(request, CLAUDE)["user"] == long
    digest = translated(request)["user"]
    assert len(digest) == 64
    assert "d" * 10 not in digest
    assert translated(asked(metadata={"user_id": "me"}))["user"] == "me"
    for reader in (CHAIN, Reader("groq", "x")):
        assert "user" not in translated(request, reader)


def test_the_longest_answer_is_at_most_what_the_model_can() -> None:
    request = asked() | {"max_tokens": 32_000}
    assert translated(request)["max_tokens"] == 16_384
    for reader in (CLAUDE, CHAIN, Reader("ollama", "something")):
        assert translated(request, reader)["max_tokens"] == 32_000


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_structured_output(place: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}
    body = translated(asked(**{place: {"format": wanted} if place == "output_config" else wanted}))
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": wanted["schema"], "strict": True}


def test_blocks_that_count_anthropics_clients_go_only_to_anthropic() -> None:
    system = [text("x-anthropic-billing-header: cc_version=2;"), text("You are a coder.")]
    assert translated(asked(system=system))["messages"][0]["content"] == "You are a coder."
    claudes = translated(asked(system=system), CLAUDE)["messages"][0]["content"]
    assert "x-anthropic-billing-header" in claudes


def test_what_can_be_counted() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "They hum."}}
    mixed = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    plain = {"type": "document", "source": {"type": "content", "content": "c"}}
    tools = [TOOL, {"type": "bash_20250124", "name": "bash"}]
    request = asked([document, mixed, plain, PDF, IMAGE], "ho", tools=tools)
    counted = countable(translated(request, CLAUDE))
    said = [part.get("text") for part in counted["messages"][0]["content"]]
    assert said == ["They hum.", "a", "b", "c", None]
    assert counted["messages"][1] == {"role": "assistant", "content": "ho"}
    assert '"name":"look"' in counted["messages"][2]["content"]
    assert countable(translated(asked())) == {"messages": [{"role": "user", "content": "hi"}]}


def test_levels_of_service() -> None:
    assert translated(asked(service_tier="standard_only"))["service_tier"] == "default"
    assert "service_tier" not in translated(asked(service_tier="auto"), CLAUDE)


SERVER_RESULT: Json = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
WRONG: list[tuple[Json, Reader, str, str]] = [
    (asked([use()]), GPT, "messages.0.content.0", "only be in `assistant`"),
    (asked("hi", [IMAGE]), GPT, "messages.1.content.0", "only be in `user`"),
    (asked("hi", [use()], [result("x", "other")]), GPT, "messages.2.content.0.tool_use_id", "no `tool_use` block"),
    (asked("hi", [text("a"), SERVER_RESULT]), GPT, "messages.1.content.1.type", "only Anthropic's own models"),
    (asked([{**PDF, "source": {"type": "url", "url": "http://x"}}]), GPT, "messages.0.content.0.source", "address"),
    (asked(tools=[TOOL, {"type": "bash_20250124", "name": "bash"}]), GPT, "tools.1.type", "only Anthropic's own"),
    (asked(tools=[{"type": "bash_20250124", "name": "bash"}]), CHAIN, "tools.0.type", "only Anthropic's own"),
    (asked(tools=[{"type": "web_search_20250305", "name": "web_search"}]), CLAUDE, "tools.0.type", "servers run"),
    (asked(tools=[{"type": "bash_20250124", "name": "bash", "function": "x"}]), CLAUDE, "tools.0.function", "Extra"),
    (
        asked(tools=[TOOL, {**TOOL, "input_schema": {"type": "object", "properties": {"a": 5}}}]),
        GPT,
        "tools.1.input_schema",
        "not a JSON schema",
    ),
    (
        asked(output_config={"format": {"type": "json_schema", "schema": {"type": "thing"}}}),
        GPT,
        "output_config.format.schema",
        "not a JSON schema",
    ),
    (
        asked(output_format={"type": "json_schema", "schema": {"required": 5}}),
        CLAUDE,
        "output_format.schema",
        "not a JSON schema",
    ),
    (asked(tools=[TOOL], tool_choice={"type": "tool", "name": "x"}), GPT, "tool_choice.name", "no tool has the name"),
    (asked(service_tier="standard_only"), CLAUDE, "service_tier", "cannot be passed on"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "reader", "where", "why"), WRONG)
def test_what_cannot_be_passed_on_is_refused_by_its_path(request_: Json, reader: Reader, where: str, why: str) -> None:
    with pytest.raises(BadRequestError, match=why) as error:
        translated(request_, reader)
    assert error.value.param == where
    assert error.value.message.startswith(f"{where}: ")


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text("ab§.", max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "text", "content", "source", "id", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in *value*."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from _places(item, (*path, key))


FULL = asked(
    [text("a", **CACHED), IMAGE, PDF, SEARCHED],
    [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("b"), use()],
    [result([text("seen"), IMAGE, PDF], is_error=False), {"type": "text", "text": "and?"}],
    system=[text("rules", **CACHED)],
    tools=[{**TOOL, **CACHED, "strict": True}],
    tool_choice={"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    thinking={"type": "enabled", "budget_tokens": 2000},
    output_config={"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    metadata={"user_id": "me"},
    context_management={"edits": []},
    stop_sequences=["x"],
)
PLACES = list(_places(FULL))


@given(st.sampled_from(PLACES), json_values, st.sampled_from([CLAUDE, GPT, O3, CHAIN]))
def test_whatever_is_wrong_in_a_request_is_its_senders_fault(path: tuple[Any, ...], value: Any, reader: Reader) -> None:
    request = copy.deepcopy(FULL)
    holder: Any = request
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    error = problem_of(request, reader)
    if error is not None:
        assert error.message.startswith(str(error.param))
        assert str(error.param).split(".")[0] in request


def problem_of(request: Json, reader: Reader) -> BadRequestError | None:
    """Why *request* is refused; None: it is not."""
    try:
        translated(request, reader)
    except BadRequestError as error:
        return error
    return None


# Answers and events

words = st.text(min_size=1, max_size=8)
thoughts = st.one_of(
    st.builds(
        lambda said, signature: [*said, ("signature", signature)], st.lists(words, min_size=1, max_size=3), words
    ),
    st.builds(lambda data: [("redacted", data)], words),
)
calls = st.builds(
    lambda name, arguments, cuts: (name, json.dumps(arguments, ensure_ascii=False), cuts),
    st.text("abc", min_size=1, max_size=5),
    st.dictionaries(words, st.one_of(words, st.integers(), st.lists(words, max_size=2)), max_size=3),
    st.integers(1, 5),
)


def chunk(delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-abc", "model": "m", "choices": [choice], **more}


def streamed(thinking: list[list[Any]], said: list[str], called: list[Any], finish: str) -> tuple[list[Json], Json]:
    """An answer in chunks, and the same one whole."""
    chunks: list[Json] = [chunk({"role": "assistant", "content": ""})]
    blocks: list[Json] = []
    for pieces in thinking:
        if pieces[0][0] == "redacted" and isinstance(pieces[0], tuple):
            blocks.append({"type": "redacted_thinking", "data": pieces[0][1]})
            chunks.append(chunk({"thinking_blocks": [blocks[-1]]}))
            continue
        *texts, (_, signature) = pieces
        blocks.append({"type": "thinking", "thinking": "".join(texts), "signature": signature})
        for piece in texts:
            part = {"type": "thinking", "thinking": piece}
            chunks.append(chunk({"content": "", "reasoning_content": piece, "thinking_blocks": [part]}))
        chunks.append(chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": signature}]}))
    chunks += [chunk({"content": piece}) for piece in said]
    tool_calls: list[Json] = []
    for index, (name, arguments, cuts) in enumerate(called):
        begin = {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        chunks.append(chunk({"tool_calls": [{"index": index, **begin}]}))
        for place in range(0, len(arguments), cuts):
            piece = {"index": index, "function": {"arguments": arguments[place : place + cuts]}}
            chunks.append(chunk({"tool_calls": [piece]}))
        tool_calls.append({**begin, "function": {"name": name, "arguments": arguments}})
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    chunks += [chunk({}, finish), {"id": "chatcmpl-abc", "model": "m", "choices": [], "usage": usage}]
    whole = {"content": "".join(said), "thinking_blocks": blocks, "tool_calls": tool_calls}
    return chunks, {**chunks[-1], "choices": [{"message": whole, "finish_reason": finish}]}


def events_of(chunks: list[Json], names: Json | None = None) -> list[Json]:
    events = Events(names or {})
    return [*(event for one in chunks for event in events.take(one)), *events.end()]


def folded(events: list[Json]) -> Json:
    """The message that *events* make, as clients put it together."""
    found: Json = {}
    inputs: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                found = {**event["message"], "content": []}
            case "content_block_start":
                assert event["index"] == len(found["content"])
                found["content"].append(dict(event["content_block"]))
            case "content_block_delta":
                _add(found["content"][event["index"]], event["delta"], inputs, event["index"])
            case "message_delta":
                found = {**found, **event["delta"], "usage": {**found["usage"], **event["usage"]}}
    for index, written in inputs.items():
        found["content"][index]["input"] = json.loads(written)
    return found


def _add(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]


@given(
    st.lists(thoughts, max_size=3),
    st.lists(words, max_size=4),
    st.lists(calls, max_size=3),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
def test_folded_events_are_the_whole_answer(
    thinking: list[list[Any]], said: list[str], called: list[Any], finish: str
) -> None:
    chunks, whole = streamed(thinking, said, called, finish)
    events = events_of(chunks)
    expected = message(whole, {})
    assert folded(events) == expected
    assert Message.model_validate(expected, strict=True).id == "msg_abc"
    _assert_well_formed(events)


def _assert_well_formed(events: list[Json]) -> None:
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    opened: int | None = None
    for event in events[2:-2]:
        if event["type"] == "content_block_start":
            assert opened is None
            opened = event["index"]
        else:
            assert opened == event["index"]
            opened = None if event["type"] == "content_block_stop" else opened
    assert opened is None


def test_steps_of_a_chain_are_thoughts_that_nobody_signed() -> None:
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "I look."}),
        chunk({"content": "Here"}),
        chunk({"reasoning_content": "I look again."}),
        chunk({"content": "and there"}),
        chunk({}, "stop"),
    ]
    found = folded(events_of(chunks))
    assert [block["type"] for block in found["content"]] == ["thinking", "text", "thinking", "text"]
    assert found["content"][0] == {"type": "thinking", "thinking": "I look.", "signature": ""}
    whole = {"id": "x", "choices": [{"message": {"content": "Here", "reasoning_content": "I look."}}]}
    assert message(whole, {})["content"][0] == found["content"][0]


@pytest.mark.parametrize(
    ("finish", "said", "expected"),
    [
        ("stop", {"content": "x"}, "end_turn"),
        (None, {"content": "x"}, "end_turn"),
        ("length", {"content": "x"}, "max_tokens"),
        ("content_filter", {"content": "x"}, "refusal"),
        ("stop", {"content": None, "refusal": "No."}, "refusal"),
        ("stop", {"tool_calls": [{"id": "c", "function": {"name": "a", "arguments": "{}"}}]}, "tool_use"),
        ("tool_calls", {"tool_calls": [{"id": "c", "function": {"name": "a", "arguments": ""}}]}, "tool_use"),
        ("length", {"tool_calls": [{"id": "c", "function": {"name": "a", "arguments": '{"a": "b'}}]}, "max_tokens"),
    ],
)
def test_why_an_answer_ends(finish: str | None, said: Json, expected: str) -> None:
    whole = message({"id": "chatcmpl-1", "choices": [{"message": said, "finish_reason": finish}]}, {})
    assert whole["stop_reason"] == expected
    assert Message.model_validate({**whole, "model": "m"}, strict=True).stop_reason == expected
    deltas = {**said, "tool_calls": [{"index": 0, **call} for call in said.get("tool_calls", ())]}
    assert events_of([chunk(deltas), chunk({}, finish)])[-2]["delta"]["stop_reason"] == expected


def test_what_the_cache_had_is_counted_apart() -> None:
    usage = {
        "prompt_tokens": 310,
        "completion_tokens": 7,
        "prompt_tokens_details": {
            "cached_tokens": 100,
            "cache_creation_tokens": 200,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
        },
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    whole = {"id": "x", "choices": [{"message": {"content": "x"}}], "usage": usage, "service_tier": "default"}
    assert message(whole, {})["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    }


def test_citations_of_anthropics_and_of_nobody_else() -> None:
    cited = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "start_char_index": 0,
        "end_char_index": 1,
    }
    said = {"content": "x", "citations": [{**cited, "supported_text": "x"}, "https://example.com"]}
    (block,) = message({"id": "x", "choices": [{"message": said}]}, {})["content"]
    assert block["citations"] == [cited]
    deltas = [event["delta"] for event in events_of([chunk(said)]) if event["type"] == "content_block_delta"]
    assert deltas[1:] == [{"type": "citations_delta", "citation": cited}]


def test_calls_of_providers_that_leave_out_ids_and_places() -> None:
    names = {"short": "a much longer name"}
    call = {"function": {"name": "short", "arguments": "{}"}}
    found = folded(events_of([chunk({"tool_calls": [{"id": name, **call}]}) for name in "ab"], names))
    assert [(block["id"], block["name"]) for block in found["content"]] == [
        ("a", names["short"]),
        ("b", names["short"]),
    ]
    (block,) = folded(events_of([chunk({"tool_calls": [call]})]))["content"]
    assert block["id"] == "toolu_chatcmpl-abc_0"
    (block,) = message({"id": "chatcmpl-abc", "choices": [{"message": {"tool_calls": [call]}}]}, names)["content"]
    assert (block["id"], block["name"]) == ("toolu_chatcmpl-abc_0", names["short"])


def test_pieces_of_several_calls_must_not_be_mixed() -> None:
    def piece(index: int, **more: Any) -> Json:
        return chunk({"tool_calls": [{"index": index, "function": {"arguments": "{"}, **more}]})

    with pytest.raises(APIError, match="mixed"):
        events_of([piece(0, id="a"), piece(1, id="b"), piece(0)])


@pytest.mark.parametrize("arguments", ["[1]", "x", "{'a': 1}"])
def test_arguments_that_are_no_object(arguments: str) -> None:
    said = {"tool_calls": [{"id": "c", "function": {"name": "look", "arguments": arguments}}]}
    with pytest.raises(APIError, match="called look with arguments"):
        message({"id": "x", "choices": [{"message": said}]}, {})


def test_an_empty_stream_is_a_failure() -> None:
    with pytest.raises(APIError, match="empty stream"):
        events_of([])


# Errors and models


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, 400, "invalid_request_error"), (401, 401, "authentication_error"), (402, 402, "billing_error"),
        (403, 403, "permission_error"), (404, 404, "not_found_error"), (405, 405, "invalid_request_error"),
        (408, 504, "timeout_error"), (409, 409, "invalid_request_error"), (413, 413, "request_too_large"),
        (415, 415, "invalid_request_error"), (429, 429, "rate_limit_error"), (500, 500, "api_error"),
        (502, 502, "api_error"), (503, 529, "overloaded_error"),
    ],
)  # fmt: skip
def test_every_status_has_its_kind(status: int, told: int, kind: str) -> None:
    error = LASError("It went wrong", status_code=status)
    assert status_of(error) == told
    assert error_body(error)["error"] == {"type": kind, "message": "It went wrong"}


def test_the_field_is_named_where_there_is_no_place_for_it() -> None:
    assert error_body(BadRequestError("It is wrong", param="tools"))["error"]["message"] == "tools: It is wrong"
    assert error_body(BadRequestError("tools: It is", param="tools"))["error"]["message"] == "tools: It is"


def test_events_are_named_and_hide_bugs() -> None:
    assert encode({"type": "ping"}) == b'event: ping\ndata: {"type":"ping"}\n\n'
    name, data, *_ = failed(KeyError("secret")).decode().splitlines()
    assert name == "event: error"
    assert "secret" not in data
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "api_error"
    assert b"rate_limit_error" in failed(RateLimitError("Slow down"))


@pytest.mark.parametrize(
    ("path", "is_its"),
    [
        ("/v1/messages", True), ("/v1/messages/count_tokens", True), ("/api/v1/litellm/v1/messages", True),
        ("/v1/messages/", True), ("/v1/messages/batches", True), ("/v1/messagesx", False), ("/v1/models", False),
        ("/x/v1/messages", False),
    ],
)  # fmt: skip
def test_which_paths_are_anthropics(path: str, is_its: bool) -> None:
    assert is_anthropics(path) is is_its


def test_the_list_of_models() -> None:
    from anthropic.types import ModelInfo

    listed = [{"id": "openai/gpt-4o", "created": 1764000000}, {"id": "chains/agent", "title": "Agent", "created": 0}]
    page = anthropic_models(listed)
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("openai/gpt-4o", "chains/agent", False)
    models = [ModelInfo.model_validate(one) for one in page["data"]]
    assert [model.display_name for model in models] == ["openai/gpt-4o", "Agent"]
    assert anthropic_models([]) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
