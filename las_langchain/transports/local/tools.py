"""Tool calls from a model that was never taught any: route by meaning, then fill arguments under a grammar.

A model of 135M parameters does not call tools on its own, and constraining its whole answer to "one of these calls"
makes it pick the wrong one. So the choice of the tool is left to the embedding model, which is good at it: the tool
whose description is nearest to the request, unless one of a few decoys (small talk, general knowledge, …) is nearer.
Then the chat model fills in that one tool's arguments: strings are spans of the request, numbers are numbers of the
request, wherever the schema leaves that open. What results is checked against the schema before anybody sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from las_langchain.errors import BadRequestError

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

FILLERS = {"please"}
MAX_SPAN_WORDS = 8
MAX_CANDIDATES = 256
MAX_STRING = 200
MAX_OPERATIONS = 8
MAX_ARGUMENT_TOKENS = 512


def choose_tool(body: Json, embed: Embed) -> Json | None:
    """The tool function to call for the last user message of *body*, or None to answer in words.

    Args:
        body: a chat request; ``tools`` and ``tool_choice`` as OpenAI defines them.
        embed: turns texts into unit vectors.

    Raises:
        BadRequestError: a tool is malformed, or ``tool_choice`` names none of them.
    """
    offered = body.get("tools") or []
    if not isinstance(offered, list):
        raise BadRequestError("tools: expected a list", param="tools")
    functions = [_function(tool) for tool in offered]
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


def arguments_body(function: Json, request: str) -> Json:
    """A chat request whose answer is the JSON arguments of *function* for what *request* asks."""
    messages = [{"role": "system", "content": ARGUMENTS_PROMPT}]
    for name, description, parameters, example, arguments in ARGUMENTS_EXAMPLES:
        messages.append({"role": "user", "content": _task(name, description, parameters, example)})
        messages.append({"role": "assistant", "content": json.dumps(arguments)})
    schema = function["parameters"] or {"type": "object", "properties": {}}
    described = ", ".join(_described(name, rule) for name, rule in schema.get("properties", {}).items())
    task = _task(function["name"], function["description"], described, request)
    messages.append({"role": "user", "content": task})
    return {
        "messages": messages,
        "temperature": 0,
        "max_tokens": MAX_ARGUMENT_TOKENS,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "arguments", "schema": ground(schema, request)},
        },
    }


def checked_arguments(function: Json, text: str) -> str | None:
    """*text* as compact JSON if it holds valid arguments of *function*, else None."""
    try:
        arguments = json.loads(text)
    except ValueError:
        return None
    schema = function["parameters"]
    valid = isinstance(arguments, dict) and _validator(schema).is_valid(arguments)
    return json.dumps(arguments, ensure_ascii=False) if valid else None


def answer_messages(messages: Sequence[Json]) -> list[Json]:
    """A conversation that ends with tool results as one that the model can answer, question and results in one."""
    results = [_text(message) for message in _trailing_tools(messages)]
    turns = [{"role": "system", "content": RESULT_PROMPT}]
    for question, result, answer in RESULT_EXAMPLES:
        turns += [{"role": "user", "content": _result(question, result)}, {"role": "assistant", "content": answer}]
    return [*turns, {"role": "user", "content": _result(last_request(messages), "\n".join(results))}]


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


def ground(schema: Json, request: str) -> Json:
    """Narrow *schema* to values that *request* holds, where it leaves strings and numbers open.

    A candidate that the schema itself forbids is left out; where none remains, that part of the schema stays as it is
    (strings then have a maximum length, so that the model comes to an end).
    """
    strings: list[Any] = [*spans(request)]
    numbers = _numbers(request)

    def narrowed(rule: Any) -> Any:
        if isinstance(rule, list):
            return [narrowed(part) for part in rule]
        if not isinstance(rule, dict):
            return rule
        if {"enum", "const", "$ref"} & rule.keys():
            return rule
        kind = rule.get("type")
        if kind == "string":
            return _narrow_string(rule, [value for value in strings if _allows(rule, value)], numbers)
        if kind in ("number", "integer"):
            fitting = [value for value in numbers if _allows(rule, value)]
            return {"enum": fitting} if fitting else rule
        parts = {"items", "prefixItems", "anyOf", "oneOf", "allOf"} & rule.keys()
        result = {**rule, **{key: narrowed(rule[key]) for key in parts}}
        for key in {"properties", "$defs", "definitions"} & rule.keys():
            result[key] = {name: narrowed(part) for name, part in rule[key].items()}
        if "properties" in rule and rule.get("additionalProperties") in (None, True):
            result["additionalProperties"] = False
        return result

    grounded: Json = narrowed(schema)
    return grounded


def spans(text: str) -> list[str]:
    """Runs of up to eight words of *text*, without the punctuation around them; at most 256, short texts first."""
    words = text.split()
    longest = MAX_SPAN_WORDS
    while longest > 1 and len(words) * longest > MAX_CANDIDATES:
        longest -= 1
    found = {
        " ".join(words[start : start + length]).strip(".,;:!?\"'()")
        for start in range(min(len(words), MAX_CANDIDATES))
        for length in range(1, min(longest, len(words) - start) + 1)
    }
    return sorted(span for span in found if span and not {span.split()[0].lower(), span.split()[-1].lower()} & FILLERS)


def _function(tool: Any) -> Json:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequestError("tools: each needs type 'function' and a function with a name", param="tools")
    name, schema = function["name"], function.get("parameters") or {}
    if not isinstance(schema, dict) or not isinstance(function.get("description") or "", str):
        message = f"tools: {name}: expected a text as description and a JSON schema of an object as parameters"
        raise BadRequestError(message, param="tools")
    if fault := _fault(schema):
        raise BadRequestError(f"tools: {name}: not a JSON schema: {fault}", param="tools")
    return {**function, "description": function.get("description") or "", "parameters": schema}


def _fault(schema: Json) -> str | None:
    """What is wrong with *schema*, or None."""
    validator = _validator(schema)
    try:
        # The schema of schemas, asked about this one; then this one, for patterns and references that lead nowhere.
        fault = next(_validator(validator.META_SCHEMA).iter_errors(schema), None)
        for pattern in _patterns(schema):
            re.compile(pattern)
        validator.is_valid(dict.fromkeys(schema.get("properties", {}), ""))
    except Exception as error:  # re.error, referencing's own, RecursionError
        return str(error) or type(error).__name__
    return str(fault.message) if fault else None


def _patterns(rule: Any) -> Iterator[str]:
    """Every regular expression in a schema."""
    if isinstance(rule, list):
        for part in rule:
            yield from _patterns(part)
    if isinstance(rule, dict):
        if isinstance(rule.get("pattern"), str):
            yield rule["pattern"]
        for part in rule.values():
            yield from _patterns(part)


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


def _trailing_tools(messages: Sequence[Json]) -> list[Json]:
    count = 0
    while count < len(messages) and messages[-1 - count].get("role") == "tool":
        count += 1
    return list(messages[len(messages) - count :])


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def _narrow_string(rule: Json, candidates: list[Any], numbers: list[float]) -> Json:
    if not candidates:
        open_ended = not {"pattern", "format", "maxLength"} & rule.keys()
        return {**rule, "maxLength": MAX_STRING} if open_ended else rule
    if len(numbers) < 2 or {"pattern", "format", "maxLength"} & rule.keys():
        return {"enum": candidates}
    # "12 times 7" may also be wanted as "12 * 7": an expression over the request's own numbers.
    number = "|".join(re.escape(str(value)) for value in numbers)
    term = rf"[(]?({number})[)]?"
    operations = f"{{1,{min(len(numbers) - 1, MAX_OPERATIONS)}}}"
    expression = rf"^{term}( ?([*][*]|[-+*/^%]) ?{term}){operations}$"
    return {"anyOf": [{"type": "string", "pattern": expression}, {"enum": candidates}]}


def _validator(schema: Any) -> Any:
    # Imported late: with all its optional formats installed, jsonschema takes two seconds to import.
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)


def _allows(rule: Json, value: Any) -> bool:
    return bool(_validator(rule).is_valid(value))


_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?")


def _numbers(text: str) -> list[float]:
    """The numbers in *text*, written in digits or, up to twenty, in English words."""
    found = [float(match.replace(",", "")) for match in _NUMBER.findall(text)]
    found += [_number_words()[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _number_words()]
    return list(dict.fromkeys(int(value) if value.is_integer() else value for value in found))


@cache
def _number_words() -> dict[str, float]:
    words = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty"
    )
    return {word: float(value) for value, word in enumerate(words.split())}
