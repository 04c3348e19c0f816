"""Schemas of clients: narrowed, bounded, and never a way to stop the process or to read elsewhere."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from las_langchain.transports.local import schemas

Json = dict[str, Any]


def properties(request: str, **rules: Any) -> Json:
    """The narrowed properties of an object with *rules*."""
    return schemas.narrowed({"type": "object", "properties": rules}, request)["properties"]


def test_spans_are_runs_of_words_without_punctuation() -> None:
    assert schemas.spans("Mail bob@x.com, please!") == ["Mail", "Mail bob@x.com", "bob@x.com"]
    assert schemas.spans("") == []
    assert len(schemas.spans("word " * 5000)) <= schemas.MAX_CANDIDATES


def test_strings_and_numbers_are_narrowed_to_the_request() -> None:
    request = "take four of 1,250"
    narrowed = properties(request, n={"type": "integer"}, t={"type": "string"}, e={"enum": ["a"]})
    assert narrowed["n"] == {"enum": [1250, 4]}
    assert {"enum": schemas.spans(request)} in narrowed["t"]["anyOf"]
    assert narrowed["e"] == {"enum": ["a"]}


def test_candidates_that_the_schema_forbids_are_left_out() -> None:
    assert properties("3 or 9", n={"type": "integer", "maximum": 5})["n"] == {"enum": [3]}
    assert properties("y z", t={"type": "string", "pattern": "^x"})["t"] == {"type": "string", "pattern": "^x"}
    date = {"type": "string", "format": "date"}
    assert properties("on 3 May 2025", d=date)["d"] == date
    assert properties("on 2025-05-03", d=date)["d"] == {"enum": ["2025-05-03"]}
    email = {"type": "string", "format": "email"}
    assert properties("mail bob@x.com", m=email)["m"] == {"enum": ["bob@x.com"]}


def test_everything_is_bounded() -> None:
    assert schemas.narrowed({"type": "string"}, "") == {"type": "string", "maxLength": schemas.MAX_STRING}
    narrowed = properties("x", items={"type": "array", "items": {"type": "string"}}, open={"type": "object"}, any=True)
    assert narrowed["items"]["maxItems"] == schemas.MAX_ITEMS
    assert narrowed["open"]["additionalProperties"] is False
    assert narrowed["any"] == {"enum": ["x"]}
    assert properties("x", many={"type": "array", "minItems": 20})["many"]["maxItems"] == 20
    assert properties("x", maybe={"type": ["string", "null"]})["maybe"] == {
        "anyOf": [{"enum": ["x"]}, {"type": "null"}]
    }
    assert "never" not in properties("x", never=False)


def test_patterns_that_grammars_do_not_know_are_left_to_the_check() -> None:
    assert "pattern" not in properties("y", t={"type": "string", "pattern": r"^\\bword\\b$"})["t"]


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(.*)*x"])
def test_no_pattern_takes_long(pattern: str) -> None:
    begin = time.monotonic()
    assert not schemas.is_valid({"type": "string", "pattern": pattern}, "a" * 50_000 + "!")
    schemas.narrowed({"type": "string", "pattern": pattern}, "a" * 50_000 + "!")
    assert time.monotonic() - begin < 10, "backtracking would take longer than the age of the universe"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": {"a": "x"}},
        {"pattern": "("},
        {"pattern": "^(?=a)b$"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/passwd"},
        {"enum": ["\ud800"]},
    ],
)
def test_faults_are_found_without_looking_elsewhere(schema: Json) -> None:
    fault = schemas.fault_of(schema)
    assert fault
    assert "\n" not in fault


def test_deep_and_circular_schemas_come_to_an_end() -> None:
    deep: Json = {}
    for _ in range(5000):
        deep = {"items": deep}
    assert schemas.fault_of(deep)
    for circular in ({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}):
        assert schemas.fault_of(circular) is None
        schemas.is_valid(circular, 1)


SCALARS = strategies.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "maxLength": 4},
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^[a-c]+$"},
        {"type": ["string", "null"]},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "integer", "minimum": 3},
        {"type": "number", "multipleOf": 0.5},
        {"type": "boolean"},
        {"const": 1},
        {"$ref": "#/$defs/thing"},
    ]
)
SCHEMAS = strategies.recursive(
    SCALARS,
    lambda inner: strategies.one_of(
        strategies.builds(lambda item: {"type": "array", "items": item}, inner),
        strategies.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        strategies.builds(
            lambda rules: {"type": "object", "properties": rules},
            strategies.dictionaries(strategies.text("ab", min_size=1), inner, max_size=3),
        ),
    ),
    max_leaves=8,
)
VALUES = {"boolean": [True, False], "integer": [3, 7], "number": [0.5, 4.0], "null": [None], "string": ["a", "abc"]}


@given(SCHEMAS, strategies.text("abc 12-", max_size=40), strategies.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_what_the_narrowed_schema_allows_the_schema_allows(schema: Json, request: str, random: Any) -> None:
    whole = {"$defs": {"thing": {"type": "string"}}, **schema}
    narrowed = schemas.narrowed(whole, request)
    assert schemas.fault_of(narrowed) is None
    value = instance(narrowed, narrowed.get("$defs", {}), random)
    if schemas.is_valid(narrowed, value):
        assert schemas.is_valid(whole, value)


def instance(rule: Json, definitions: Json, random: Any) -> Any:
    """A value that *rule* may well allow."""
    if "$ref" in rule:
        return instance(definitions[rule["$ref"].rpartition("/")[2]], definitions, random)
    if "const" in rule:
        return rule["const"]
    if "enum" in rule:
        return random.choice(rule["enum"])
    if "anyOf" in rule:
        return instance(random.choice(rule["anyOf"]), definitions, random)
    if rule.get("type") == "array":
        return [instance(rule["items"], definitions, random) for _ in range(random.randint(0, 3))]
    if rule.get("type") == "object":
        return {name: instance(part, definitions, random) for name, part in rule["properties"].items()}
    return random.choice(VALUES[rule["type"]])
