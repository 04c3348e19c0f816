"""Tool calls from a model that was never taught any: route by meaning, then fill arguments under a grammar.

A model of 135M parameters does not call tools on its own, and constraining its whole answer to "one of these calls"
makes it pick the wrong one. So the choice of the tool is left to the embedding model, which is good at it: the tool
whose description is nearest to the request, unless one of a few decoys (small talk, general knowledge, …) is nearer.
Then the chat model fills in that one tool's arguments: strings are spans of the request, numbers are numbers of the
request, wherever the schema leaves that open. What results is checked against the schema before anybody sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.transports.local import schemas

Json = dict[str, Any]
Embed = Callable[[list[str]], list[list[float]]]

# Requests that need no tool. A tool must be nearer to the request than all of these to be called.
DECOYS = (
    "Hello, how are you?",
    "Thank you, goodbye",
    "Tell me a joke",
    "Who was the first president?",
    "Which city is the capital of a country?",
    "Write a poem or a story",
    "Explain a topic from science or history",
    "What is your name and what can you do?",
    "Translate or rephrase this text",
    "I feel sad",
)

ARGUMENTS_PROMPT = "Fill in the arguments of the function from the request. Answer with JSON only."

# Unrelated to any likely tool, since the model copies values out of examples that look like the task.
ARGUMENTS_EXAMPLES: tuple[tuple[str, str, str, str, Json], ...] = (
    (
        "add_contact", "Save a contact", "name: string (Full name), phone: string (Phone number)",
        "Please save Maria Lopez, 555-0199", {"name": "Maria Lopez", "phone": "555-0199"},
    ),
    (
        "move_file", "Move a file to a folder", "file: string, folder: string (Target folder)",
        "Put report.pdf into the archive folder", {"file": "report.pdf", "folder": "archive"},
    ),
    (
        "rate_movie", "Rate a film", "title: string (Title of the film), stars: integer (One to five)",
        "I'd give Casablanca 5 stars", {"title": "Casablanca", "stars": 5},
    ),
)  # fmt: skip

RESULT_PROMPT = "You are a helpful assistant. Use the result of the tool to answer."

RESULT_EXAMPLES = (
    ("What time is it in Lima?", "14:20", "It is 14:20 in Lima."),
    ("How many unread messages do I have?", '{"unread": 3}', "You have 3 unread messages."),
    ("Book a taxi to the airport", "Confirmed, arrives 9:15", "Your taxi is booked. It arrives at 9:15."),
    (
        "Find the phone number of the library",
        "Error: directory offline",
        "I could not find it: the directory is offline.",
    ),
)

MAX_ARGUMENT_TOKENS = 256


def choose_tool(body: Json, embed: Embed) -> Json | None:
    """The tool function to call for the last user message of *body*, or None to answer in words.

    Args:
        body: a chat request; ``tools`` and ``tool_choice`` as OpenAI defines them.
        embed: turns texts into unit vectors.

    Raises:
        BadRequestError: a tool is malformed, or ``tool_choice`` names none of them.
    """
    functions = offered(body)
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        return _named(choice, functions)
    if not isinstance(choice, str) or choice not in ("auto", "none", "required"):
        raise BadRequestError(
            f"tool_choice: expected auto, none, required or a function, not {choice!r}", param="tool_choice"
        )
    if choice == "required" and not functions:
        raise BadRequestError("tool_choice 'required' needs at least one tool", param="tools")
    if choice == "none" or not functions or (choice == "auto" and body["messages"][-1].get("role") == "tool"):
        return None
    return _nearest(functions, last_request(body["messages"]), embed, decoys=() if choice == "required" else DECOYS)


def offered(body: Json) -> list[Json]:
    """The functions among the ``tools`` of *body*, each with a description and a schema.

    Raises:
        BadRequestError: one is malformed.
    """
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise BadRequestError("tools: expected a list", param="tools")
    return [_function(tool) for tool in tools]


def arguments_body(function: Json, request: str, max_tokens: int | None = None) -> Json:
    """A chat request whose answer is the JSON arguments of *function* for what *request* asks."""
    messages = [{"role": "system", "content": ARGUMENTS_PROMPT}]
    for name, description, parameters, example, arguments in ARGUMENTS_EXAMPLES:
        messages.append({"role": "user", "content": _task(name, description, parameters, example)})
        messages.append({"role": "assistant", "content": json.dumps(arguments)})
    schema = function["parameters"]
    described = ", ".join(_described(name, rule) for name, rule in schema.get("properties", {}).items())
    task = _task(function["name"], function["description"], described, request)
    messages.append({"role": "user", "content": task})
    return {
        "messages": messages,
        "temperature": 0,
        "max_tokens": min(MAX_ARGUMENT_TOKENS, max_tokens or MAX_ARGUMENT_TOKENS),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "arguments", "schema": schemas.narrowed(schema, request)},
        },
    }


def checked_arguments(function: Json, text: str) -> str | None:
    """*text* as compact JSON if it holds valid arguments of *function*, else None."""
    try:
        arguments = json.loads(text)
    except ValueError:
        return None
    return json.dumps(arguments, ensure_ascii=False) if schemas.is_valid(function["parameters"], arguments) else None


def answer_messages(messages: Sequence[Json]) -> list[Json]:
    """A conversation that ends with tool results as one that the model can answer.

    The caller's system messages and earlier turns stay; examples go before them, and question and results become
    one message.
    """
    last = max((index for index, one in enumerate(messages) if one["role"] == "user"), default=0)
    earlier = without_tools(messages[:last])
    system = "\n".join([RESULT_PROMPT, *(_text(one) for one in earlier if one["role"] == "system")])
    turns = [{"role": "system", "content": system}]
    for question, result, answer in RESULT_EXAMPLES:
        turns += [{"role": "user", "content": _result(question, result)}, {"role": "assistant", "content": answer}]
    results = "\n".join(_text(one) for one in messages[last:] if one["role"] == "tool")
    final = {"role": "user", "content": _result(last_request(messages), results)}
    return [*turns, *(one for one in earlier if one["role"] != "system"), final]


def without_tools(messages: Sequence[Json]) -> list[Json]:
    """*messages* with tool calls left out and tool results turned into user messages, for a template without tools."""
    plain: list[Json] = []
    for message in messages:
        if message.get("role") == "tool":
            plain.append({"role": "user", "content": f"Tool result: {_text(message)}"})
        elif message.get("role") != "assistant" or _text(message):
            plain.append({key: value for key, value in message.items() if key != "tool_calls"})
    return plain


def last_request(messages: Sequence[Json]) -> str:
    """The text of the last user message; empty if there is none."""
    return next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")


def _function(tool: Any) -> Json:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequestError("tools: each needs type 'function' and a function with a name", param="tools")
    name, schema = function["name"], function.get("parameters") or {}
    if not isinstance(schema, dict) or not isinstance(function.get("description") or "", str):
        message = f"tools: {name}: expected a text as description and a JSON schema of an object as parameters"
        raise BadRequestError(message, param="tools")
    schema = {"type": "object", **schema}
    if fault := schemas.fault_of(schema):
        raise BadRequestError(f"tools: {name}: not a JSON schema: {fault}", param="tools")
    if schema["type"] != "object":
        raise BadRequestError(f"tools: {name}: the parameters of a function are an object", param="tools")
    return {**function, "description": function.get("description") or "", "parameters": schema}


def _named(choice: Json, functions: list[Json]) -> Json:
    wanted = choice.get("function")
    name = wanted.get("name") if isinstance(wanted, dict) else None
    for function in functions:
        if function["name"] == name:
            return function
    raise BadRequestError(f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")


def _nearest(functions: list[Json], request: str, embed: Embed, decoys: Sequence[str]) -> Json | None:
    if len(functions) == 1 and not decoys:
        return functions[0]
    candidates = [*map(_profile, functions), *decoys]
    wanted, *vectors = embed([request or " ", *candidates])
    scores = [sum(a * b for a, b in zip(wanted, vector, strict=True)) for vector in vectors]
    best = max(range(len(scores)), key=scores.__getitem__)
    return functions[best] if best < len(functions) else None


def _profile(function: Json) -> str:
    """What a tool is about, as the embedding model reads it."""
    parameters = ", ".join(function["parameters"].get("properties", {}))
    return f"{function['name'].replace('_', ' ')}: {function.get('description', '')}. {parameters}"


def _task(name: str, description: str, parameters: str, request: str) -> str:
    return f"Function {name}: {description}\nArguments: {parameters}\nRequest: {request}"


def _described(name: str, rule: Any) -> str:
    rule = rule if isinstance(rule, dict) else {}
    kind = " | ".join(map(str, rule["enum"])) if "enum" in rule else str(rule.get("type", "any"))
    return f"{name}: {kind} ({rule['description']})" if rule.get("description") else f"{name}: {kind}"


def _result(question: str, result: str) -> str:
    return f"{question}\n\nTool result: {result}"


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""
