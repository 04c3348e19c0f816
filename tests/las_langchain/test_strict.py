"""Schemas in strict mode, and the answers to them."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Any, Literal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field

from las_langchain.errors import BadRequestError
from las_langchain.strict import (
    allows_null,
    can_be_strict,
    nullable,
    strict_schema,
    with_plain_root,
    without_added_nulls,
)
from tests.fake_openai_rules import _strict_problem as breach

Json = dict[str, Any]


class Colour(Enum):
    RED = "red"


class Wheel(BaseModel):
    size: int = 5
    label: str | None = None


class Car(BaseModel):
    """A car."""

    name: str = Field(description="What it is called")
    colour: Colour | None = Field(None, description="Its colour")
    best: Colour = Colour.RED
    wheels: list[Wheel] = []
    spare: Wheel | None = None
    kind: Literal["a", "b"] = "a"


class Node(BaseModel):
    value: int
    children: list[Node] = []
    first: Node | None = None


@pytest.mark.parametrize("model", [Car, Wheel, Node])
def test_a_schema_of_a_class_becomes_strict(model: type[BaseModel]) -> None:
    schema = with_plain_root(model.model_json_schema())
    assert can_be_strict(schema)
    strict = strict_schema(schema)
    assert breach(strict, ()) is None
    assert strict_schema(strict) == strict
    assert with_plain_root(model.model_json_schema()) == schema


def test_what_was_optional_is_required_and_nullable() -> None:
    strict = strict_schema(Wheel.model_json_schema())
    assert strict["required"] == ["size", "label"]
    assert strict["properties"]["size"] == {"title": "Size", "type": ["integer", "null"]}
    assert {"type": "null"} in strict["properties"]["label"]["anyOf"]
    kept = strict_schema(Wheel.model_json_schema(), null_for_defaults=False)
    assert kept["properties"]["size"] == {"title": "Size", "type": "integer"}


def test_a_class_reads_the_answer_to_its_strict_schema() -> None:
    schema = Car.model_json_schema()
    said = {
        "name": "x",
        "colour": None,
        "best": None,
        "wheels": [{"size": None, "label": None}],
        "spare": None,
        "kind": None,
    }
    jsonschema_rs.validate(strict_schema(schema), said)
    assert Car.model_validate(without_added_nulls(said, schema)) == Car(name="x", wheels=[Wheel()])
    said["spare"] = {"size": None, "label": "l"}
    assert Car.model_validate(without_added_nulls(said, schema)).spare == Wheel(label="l")


@pytest.mark.parametrize(
    ("schema", "possible"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}},
            False,
        ),
        ({"type": "object", "properties": {"a": {"type": "object"}}}, False),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, False),
        ({"type": "object", "properties": {}, "patternProperties": {"a": {}}}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{"type": "string"}]}}}, False),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {}, "uniqueItems": True}}}, False),
        ({"type": "object", "properties": {"a": {"not": {"type": "string"}}}}, False),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
    ],
)
def test_open_objects_cannot_be_strict(schema: Json, possible: bool) -> None:
    assert can_be_strict(schema) is possible


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": ["string", "integer"]},
        {"enum": ["a", "b"], "type": "string", "description": "d"},
        {"$ref": "#/$defs/X"},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"const": 3},
    ],
)
def test_nullable_allows_null_once(schema: Json) -> None:
    allowed = nullable(schema)
    assert allows_null(allowed)
    assert nullable(allowed) == allowed


def test_what_strict_mode_cannot_express_is_refused_by_name() -> None:
    class Scores(BaseModel):
        by_name: dict[str, int]

    with pytest.raises(BadRequestError, match="by_name has no fixed keys; leave strict out"):
        strict_schema(Scores.model_json_schema())


def test_alternatives_and_formats_are_said_as_strict_mode_knows_them() -> None:
    class Cat(BaseModel):
        kind: Literal["cat"]

    class Dog(BaseModel):
        kind: Literal["dog"]
        page: AnyUrl
        born: date

    class Owner(BaseModel):
        pet: Cat | Dog = Field(discriminator="kind")

    strict = strict_schema(Owner.model_json_schema())
    assert strict["properties"]["pet"].keys() == {"title", "anyOf"}
    assert "format" not in strict["$defs"]["Dog"]["properties"]["page"]
    assert strict["$defs"]["Dog"]["properties"]["born"]["format"] == "date"
    assert breach(strict, ()) is None


def test_a_reference_with_a_description_and_one_allof_are_unfolded() -> None:
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"$ref": "#", "description": "d"},
            "b": {"allOf": [{"type": "string"}], "description": "e", "default": "x"},
        },
    }
    strict = strict_schema(schema)["properties"]
    assert strict["a"] == {"description": "d", "anyOf": [{"$ref": "#"}]}
    assert strict["b"] == {"description": "e", "type": "string"}


SCALARS = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"enum": ["a", 1]}])
SCHEMAS: st.SearchStrategy[Json] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda properties, required: {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in required],
            },
            st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=4),
            st.sets(st.sampled_from("abcd")),
        ),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, SCALARS),
    ),
    max_leaves=12,
)


def least(schema: Json) -> Any:
    """A value of *schema* with null wherever it is allowed."""
    if allows_null(schema):
        return None
    if "anyOf" in schema:
        return least(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: least(child) for name, child in schema["properties"].items()}
    return {"array": lambda: [least(schema["items"])], "string": str, "integer": int, "boolean": bool}[schema["type"]]()


@given(st.dictionaries(st.sampled_from("xyz"), SCHEMAS, min_size=1, max_size=3), st.sets(st.sampled_from("xyz")))
def test_without_the_added_nulls_an_answer_fits_the_schema_as_it_was(properties: Json, required: set[str]) -> None:
    schema = {"type": "object", "properties": properties, "required": sorted(required & properties.keys())}
    strict = strict_schema(schema)
    assert breach(strict, ()) is None
    said = least(strict)
    jsonschema_rs.validate(strict, said)
    jsonschema_rs.validate(schema, without_added_nulls(said, schema))


def test_what_can_never_be_is_no_reason_to_fail() -> None:
    schema = {"type": "object", "properties": {"never": False, "name": {"type": "string"}}}
    assert not can_be_strict(schema)
    with pytest.raises(BadRequestError, match="never may be nothing"):
        strict_schema(schema)
