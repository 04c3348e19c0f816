"""JSON schemas that clients send: checked, narrowed to what a request says, and asked about values.

A client's regular expressions run in linear time here and its references are never fetched: no schema may stop the
process, nor make it read an address or file.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import jsonschema_rs

Json = dict[str, Any]

FILLERS = {"please"}
MAX_SPAN_WORDS = 8
MAX_CANDIDATES = 256
MAX_STRING = 200
MAX_ITEMS = 8
MAX_OPERATIONS = 8
# What llama.cpp's grammars do not know of regular expressions; it would say so on standard error.
_NOT_IN_GRAMMARS = re.compile(r"\(\?|\\[bBpPkAzZ1-9]")


def fault_of(schema: Json) -> str | None:
    """What is wrong with *schema*, or None: no schema at all, a pattern or a reference that cannot be followed."""
    try:
        _validator(schema)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return str(error).splitlines()[0]
    return None


def is_valid(schema: Json, value: Any) -> bool:
    """Whether *value* is what *schema* asks for, formats included."""
    return _validator(schema).is_valid(value)


def narrowed(schema: Json, request: str) -> Json:
    """*schema* with strings and numbers narrowed to what *request* holds, and everything bounded.

    A candidate that the schema itself forbids is left out; where none remains, that part stays as it is. Lists get a
    longest length and objects only the properties that are named, since a small model closes neither by itself.
    """
    result: Json = _Narrowing(request).rule(schema)
    return result


class _Narrowing:
    def __init__(self, request: str) -> None:
        self._strings = spans(request)
        self._numbers = _numbers(request)

    def rule(self, rule: Any) -> Any:
        if rule is True or rule == {}:
            return self._string({"type": "string"})
        if not isinstance(rule, dict) or {"enum", "const"} & rule.keys():
            return rule
        kind = rule.get("type")
        if isinstance(kind, list):
            return {"anyOf": [self.rule({**rule, "type": one}) for one in kind]}
        if kind == "string":
            return self._string(rule)
        if kind in ("number", "integer"):
            fitting = _fitting(rule, self._numbers)
            return {"enum": fitting} if fitting else rule
        return self._parts(rule)

    def _parts(self, rule: Json) -> Json:
        result = dict(rule)
        for key in {"items", "prefixItems", "anyOf", "oneOf", "allOf"} & rule.keys():
            part = rule[key]
            result[key] = [self.rule(one) for one in part] if isinstance(part, list) else self.rule(part)
        for key in {"properties", "$defs", "definitions"} & rule.keys():
            result[key] = {name: self.rule(part) for name, part in rule[key].items() if part is not False}
        if rule.get("type") == "array":
            longest = max(MAX_ITEMS, rule.get("minItems", 0))
            result["maxItems"] = min(rule.get("maxItems", longest), longest)
        if rule.get("type") == "object" or "properties" in rule:
            result |= {"properties": result.get("properties", {}), "additionalProperties": False}
        return result

    def _string(self, rule: Json) -> Json:
        candidates = _fitting(rule, self._strings)
        closed = {"pattern", "format", "maxLength"} & rule.keys()
        if candidates and (closed or len(self._numbers) < 2):
            return {"enum": candidates}
        if candidates:
            return {"anyOf": [self._expression(), {"enum": candidates}]}
        if _NOT_IN_GRAMMARS.search(rule.get("pattern", "")):
            rule = {key: value for key, value in rule.items() if key != "pattern"}
        return rule if closed else {**rule, "maxLength": MAX_STRING}

    def _expression(self) -> Json:
        """ "12 times 7" may also be wanted as "12 * 7": an expression over the request's own numbers."""
        number = "|".join(re.escape(str(value)) for value in self._numbers)
        term = rf"[(]?({number})[)]?"
        operations = f"{{1,{min(len(self._numbers) - 1, MAX_OPERATIONS)}}}"
        return {"type": "string", "pattern": rf"^{term}( ?([*][*]|[-+*/^%]) ?{term}){operations}$"}


def spans(text: str) -> list[Any]:
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


def _validator(schema: Json) -> jsonschema_rs.Draft202012Validator:
    linear = jsonschema_rs.RegexOptions()
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, pattern_options=linear, offline=True)


def _fitting(rule: Json, values: list[Any]) -> list[Any]:
    # References are left to the check of the whole: they mean nothing in a part.
    validator = _validator({key: part for key, part in rule.items() if key != "$ref"})
    return [value for value in values if validator.is_valid(value)]


_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,15})?(?!\d)")


def _numbers(text: str) -> list[Any]:
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
