"""The obedient model behind the OpenAI double: answers, token counts and vectors derived only from the request."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

JSON = dict[str, Any]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|`([^`]+)`|(?<!\w)'([^']+)'(?!\w)")
_CAPITALISED = re.compile(r"(?<![.?!]\s)(?<!^)\b[A-Z]\w+")
_REPEATED_CALL = re.compile(r"\bcall (?:\S+ )?(\d+) times\b", re.IGNORECASE)
_FORMATS = {
    "date-time": "2024-08-06T12:00:00Z",
    "date": "2024-08-06",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "value@example.com",
    "uri": "https://example.com/value",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "hostname": "example.com",
}
_PART_MARKS = {"image_url": "[image]", "input_audio": "[audio]", "file": "[file]"}
# Past these depths a recursive schema is closed with its smallest value.
_SHALLOW, _DEEP = 6, 24


@dataclass(frozen=True)
class ToolCall:
    """A function call by the model; a missing id is made up by the server."""

    name: str
    arguments: str | JSON = "{}"
    id: str | None = None

    @property
    def text(self) -> str:
        """The arguments as they go on the wire."""
        return self.arguments if isinstance(self.arguments, str) else orjson.dumps(self.arguments).decode()


@dataclass(frozen=True)
class Answer:
    """What the obedient model says in one choice."""

    text: str | None
    finish_reason: str
    tool_calls: Sequence[ToolCall] = ()


class Hints:
    """Values a user's text offers for the arguments of a tool, taken in order."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.refill()

    def refill(self) -> None:
        """Start again from the first number and the first quoted piece."""
        self.numbers = _NUMBER.findall(self.text)
        self.quotes = ["".join(groups) for groups in _QUOTED.findall(self.text)]

    def spent(self) -> bool:
        """Tell whether every number and quoted piece has been taken."""
        return not self.numbers and not self.quotes

    def number(self) -> float:
        """Take the next number, 1 when there is none left."""
        return float(self.numbers.pop(0)) if self.numbers else 1.0

    def string(self) -> str:
        """Take the next quoted piece, else the last capitalised word, else "value"."""
        if self.quotes:
            return self.quotes.pop(0)
        words = _CAPITALISED.findall(self.text)
        return words[-1] if words else "value"

    def mentions(self, word: object) -> bool:
        """Tell whether the text holds this word."""
        return re.search(rf"(?<!\w){re.escape(str(word))}(?!\w)", self.text, re.IGNORECASE) is not None


class Generator:
    """Makes a value that fits a JSON schema, filled from a text's hints."""

    def __init__(self, root: JSON, hints: Hints, *, every: bool) -> None:
        self.root = root
        self.hints = hints
        self.every = every

    def value(self, schema: Any, depth: int = 0) -> Any:
        """A value for this (sub)schema."""
        node = self._plain(schema, depth)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return next((member for member in node["enum"] if self.hints.mentions(member)), node["enum"][0])
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(node, depth),
            "array": lambda: self._array(node, depth),
            "integer": lambda: int(self._number(node, 1)),
            "number": lambda: self._number(node, 0),
            "boolean": lambda: not self.hints.mentions("false"),
            "null": lambda: None,
            "string": lambda: self._string(node),
        }
        return makers[_kind(node)]()

    def _plain(self, schema: Any, depth: int) -> JSON:
        """The schema with $ref, allOf and anyOf replaced by what they stand for."""
        node = dict(schema) if isinstance(schema, dict) else {}
        for _ in range(_DEEP):
            if "$ref" in node:
                target = self._find(node.pop("$ref"))
                node = {**target, **node}
            elif "allOf" in node:
                for part in node.pop("allOf"):
                    node = _joined(self._plain(part, depth), node)
            elif variants := node.pop("anyOf", None) or node.pop("oneOf", None):
                node = {**node, **self._variant(variants, depth)}
            else:
                return node
        return {"type": "null"}

    def _variant(self, variants: Sequence[JSON], depth: int) -> JSON:
        """The first variant that is not null; past the shallow depth, null if allowed."""
        null_first = depth > _SHALLOW
        return next((one for one in variants if (_kind(one) == "null") == null_first), variants[0])

    def _find(self, pointer: str) -> JSON:
        """The schema a local $ref points at."""
        found: Any = self.root
        for key in pointer.removeprefix("#").split("/")[1:]:
            found = found[key.replace("~1", "/").replace("~0", "~")]
        return dict(found)

    def _object(self, node: JSON, depth: int) -> JSON:
        properties = node.get("properties", {})
        wanted = properties if self.every else [name for name in properties if name in node.get("required", [])]
        return {} if depth > _DEEP else {name: self.value(properties[name], depth + 1) for name in wanted}

    def _array(self, node: JSON, depth: int) -> list[Any]:
        if "prefixItems" in node:
            return [self.value(item, depth + 1) for item in node["prefixItems"]]
        least, most = node.get("minItems", 0), node.get("maxItems", 1_000)
        if depth > _SHALLOW:
            return [self.value(node.get("items"), depth + 1) for _ in range(least)]
        kind = _kind(self._plain(node.get("items"), depth))
        offered = {"integer": self.hints.numbers, "number": self.hints.numbers, "string": self.hints.quotes}
        count = min(max(1, least, len(offered.get(kind, ()))), most)
        return [self.value(node.get("items"), depth + 1) for _ in range(count)]

    def _number(self, node: JSON, step: int) -> float:
        """The next number of the text, kept inside the schema's bounds."""
        number = self.hints.number()
        if "exclusiveMinimum" in node:
            number = max(number, node["exclusiveMinimum"] + (step or 0.5))
        if "exclusiveMaximum" in node:
            number = min(number, node["exclusiveMaximum"] - (step or 0.5))
        number = min(max(number, node.get("minimum", number)), node.get("maximum", float("inf")))
        return int(number) if number == int(number) else number

    def _string(self, node: JSON) -> str:
        text = _FORMATS.get(node.get("format", "")) or self.hints.string()
        return text.ljust(node.get("minLength", 0), "x")[: node.get("maxLength", len(text) + 1_000)]


def _joined(under: JSON, over: JSON) -> JSON:
    """Two schemas as one: properties and required are joined, the rest overridden."""
    joined = {**under, **over}
    if "properties" in under and "properties" in over:
        joined["properties"] = {**under["properties"], **over["properties"]}
    if "required" in under and "required" in over:
        joined["required"] = [*under["required"], *over["required"]]
    return joined


def _kind(node: Any) -> str:
    """The JSON type a schema asks for, guessed from its keywords when not given."""
    if not isinstance(node, dict):
        return "string"
    kind = node.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    guess = "object" if "properties" in node else "array" if "items" in node else "string"
    return kind or guess


def pieces_of(text: str) -> list[str]:
    """Split a text on words, each with the spaces before it; joined they give the text."""
    return re.findall(r"\s*\S+|\s+$", text)


def message_text(message: JSON) -> str:
    """The text of a message; parts that are not text are named in brackets."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content or []
    return " ".join(_PART_MARKS.get(part["type"]) or part.get("text") or part.get("refusal", "") for part in parts)


def last_user_text(body: JSON) -> str:
    """The text of the last user message, empty without one."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    return message_text(users[-1]) if users else ""


def reply_to(text: str) -> str:
    """The plain answer to a user's text."""
    prefix = "Repeat: "
    return text[len(prefix) :] if text.startswith(prefix) else f"Echo: {text}"


def answer(body: JSON, index: int = 0) -> Answer:
    """The default answer to a valid chat request, for one of its n choices."""
    tool = _chosen_tool(body)
    if tool:
        return Answer(None, "tool_calls", tuple(_calls(body, tool)))
    structured = _structured_text(body)
    text = structured if structured is not None else _prose(body) + suffix_of(index)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Answer(*limited(text, body.get("stop"), limit))


def suffix_of(index: int) -> str:
    """What tells apart the choices of one request."""
    return f" #{index}" if index else ""


def limited(text: str, stop: str | list[str] | None, limit: int | None) -> tuple[str, str]:
    """The text cut at its first stop string and at its token limit, with the finish reason."""
    stops = [stop] if isinstance(stop, str) else stop or []
    ends = [text.index(mark) for mark in stops if mark and mark in text]
    text = text[: min(ends)] if ends else text
    words = pieces_of(text)
    if limit is not None and len(text.split()) > limit:
        return "".join(words[:limit]), "length"
    return text, "stop"


def _prose(body: JSON) -> str:
    """The answer in words: the results of the tools just called, else a reply to the user."""
    results: list[str] = []
    for message in reversed(body["messages"]):
        if message["role"] != "tool":
            break
        results.insert(0, message_text(message))
    return f"The result is: {', '.join(results)}" if results else reply_to(last_user_text(body))


def _structured_text(body: JSON) -> str | None:
    """The JSON text that response_format asks for, if it does."""
    wanted = body.get("response_format") or {}
    text = last_user_text(body)
    if wanted.get("type") == "json_object":
        return orjson.dumps(_free_object(Hints(text))).decode()
    if wanted.get("type") != "json_schema":
        return None
    schema = wanted["json_schema"]["schema"]
    value = Generator(schema, Hints(text), every=bool(wanted["json_schema"].get("strict"))).value(schema)
    return orjson.dumps(value).decode()


def _free_object(hints: Hints) -> JSON:
    """The object of JSON mode: with the quoted keys if the text speaks of keys, else with the text as "answer"."""
    if hints.quotes and hints.mentions("keys"):
        return dict.fromkeys(hints.quotes, "value")
    return {"answer": hints.text}


def _chosen_tool(body: JSON) -> JSON | None:
    """The function the model calls for this request, if any."""
    functions = [tool["function"] for tool in body.get("tools", []) if tool["type"] == "function"]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = {tool.get("function", {}).get("name") for tool in allowed["tools"]}
        functions = [function for function in functions if function["name"] in names]
        choice = allowed["mode"]
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        return next((function for function in functions if function["name"] == name), None)
    if choice == "none" or not functions:
        return None
    return _suggested_tool(body, functions, forced=choice == "required")


def _suggested_tool(body: JSON, functions: Sequence[JSON], *, forced: bool) -> JSON | None:
    """The function that the user's text names or shares most words with."""
    text = last_user_text(body)
    best = max(functions, key=lambda function: _affinity(text, function))
    asked = body["messages"][-1]["role"] == "user" and _affinity(text, best) > 0
    return best if forced or asked else None


def _affinity(text: str, function: JSON) -> float:
    """How strongly a text calls for a function; its name outweighs any shared words."""
    if re.search(rf"(?<![\w-]){re.escape(function['name'])}(?![\w-])", text, re.IGNORECASE):
        return float("inf")
    about = f"{function['name']} {function.get('description') or ''}"
    return len(set(_words(text)) & set(_words(about)))


def _words(text: str) -> Iterator[str]:
    """The words of four letters or more, camelCase and snake_case taken apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return (word.lower() for word in re.findall(r"[^\W\d_]{4,}", f"{text} {apart}"))


def _calls(body: JSON, function: JSON) -> Iterator[ToolCall]:
    """The calls of one function, several when the text says "call N times"."""
    text = last_user_text(body)
    times = _REPEATED_CALL.search(text)
    count = int(times[1]) if times and body.get("parallel_tool_calls", True) else 1
    hints = Hints(_REPEATED_CALL.sub(" ", text))
    schema = function.get("parameters") or {"type": "object"}
    for _ in range(count):
        if hints.spent():
            hints.refill()
        value = Generator(schema, hints, every=bool(function.get("strict"))).value(schema)
        yield ToolCall(function["name"], value)


def fragments_of(arguments: str) -> list[str]:
    """Split arguments about as OpenAI streams them."""
    return [arguments[start : start + 5] for start in range(0, len(arguments), 5)]


def usage_of(prompt: int, completion: int, reasoning: int, changes: JSON | None) -> JSON:
    """The usage block with the script's changes; the total follows them."""
    usage: JSON = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    usage = merged(usage, changes or {})
    total = (usage["prompt_tokens"] or 0) + (usage["completion_tokens"] or 0)
    return {"total_tokens": total, **usage}


def merged(under: JSON, over: JSON) -> JSON:
    """Two objects as one, at every depth; the second wins."""
    joined = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(under.get(key), dict)
        joined[key] = merged(under[key], value) if both else value
    return joined


def logprobs_of(text: str, top: int) -> JSON:
    """Made-up log probabilities, a token being a word."""
    return {"content": [_token_logprob(piece, top) for piece in pieces_of(text)], "refusal": None}


def _token_logprob(token: str, top: int) -> JSON:
    rivals = [token, *(f" alt{place}" for place in range(1, top))][:top]
    best = [_logprob_entry(rival, place) for place, rival in enumerate(rivals)]
    return {**_logprob_entry(token, 0), "top_logprobs": best}


def _logprob_entry(token: str, place: int) -> JSON:
    return {"token": token, "logprob": -0.125 - place, "bytes": list(token.encode())}


def legacy_logprobs_of(text: str, top: int) -> JSON:
    """Log probabilities in the shape of the legacy completions."""
    tokens = pieces_of(text)
    best = [{one["token"]: one["logprob"] for one in _token_logprob(token, top)["top_logprobs"]} for token in tokens]
    return {
        "tokens": tokens,
        "token_logprobs": [-0.125] * len(tokens),
        "top_logprobs": best,
        "text_offset": list(itertools.accumulate((len(token) for token in tokens[:-1]), initial=0)) if tokens else [],
    }


def shares_of(logprobs: JSON | None, pieces: Sequence[str]) -> list[JSON | None]:
    """Deal log probabilities out to the pieces of a stream; the last one takes the rest."""
    if logprobs is None:
        return [None] * len(pieces)
    rest = list(logprobs.get("content") or [])
    shares: list[JSON | None] = []
    for place, piece in enumerate(pieces, 1):
        count = len(rest) if place == len(pieces) else len(pieces_of(piece))
        shares.append({"content": rest[:count], "refusal": None})
        del rest[:count]
    return shares


def vector_of(text: str, size: int) -> bytes:
    """A unit vector that depends on the text alone, as little-endian float32."""
    numbers = struct.unpack(f"<{size}i", hashlib.shake_256(text.encode()).digest(4 * size))
    norm = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return struct.pack(f"<{size}f", *(number / norm for number in numbers))
