"""JSON schemas for OpenAI's strict mode, and the answers to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from las_langchain.errors import BadRequestError

Json = dict[str, Any]

# All that OpenAI's strict mode knows, by its guide to structured outputs.
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
# Keywords of which strict mode has none, and which cannot be left out without changing what is asked.
_REFUSED = ("not", "prefixItems", "uniqueItems", "patternProperties", "if", "dependentRequired", "dependentSchemas")

# Keywords under which there is one schema, a list of them, or a dict of them by name.
_ONE = ("items", "additionalProperties")
_SEVERAL = ("anyOf", "oneOf", "allOf")
_NAMED = ("properties", "$defs", "definitions")


def with_plain_root(schema: Json) -> Json:
    """*schema* with an object at its root, where a class that refers to itself has only a reference."""
    if "$ref" not in schema:
        return schema
    return {**_find(schema["$ref"], schema), **{key: value for key, value in schema.items() if key != "$ref"}}


def can_be_strict(schema: Any) -> bool:
    """Whether strict mode can express *schema*: every value has a type, no object open keys, and the root is one."""
    return schema.get("type") == "object" and "anyOf" not in schema and _problem(schema, ()) is None


def strict_schema(schema: Json, *, null_for_defaults: bool = True) -> Json:
    """*schema* as strict mode wants it: every object closed, every property required, what was optional nullable.

    The rules are those of OpenAI's guide to structured outputs, "All fields must be required". A schema that keeps them
    already is returned unchanged. Formats that strict mode does not know are left out.

    Args:
        schema: a JSON schema.
        null_for_defaults: whether null stands for a default that is not null; if not, such a property must be given.

    Raises:
        BadRequestError: strict mode cannot express it; the message names the place.
    """
    if problem := _problem(schema, ()):
        raise BadRequestError(f"strict mode cannot express the schema: {problem}; leave strict out", param="strict")
    return cast("Json", _strict(schema, null_for_defaults))


def _problem(node: Any, path: tuple[str, ...]) -> str | None:
    """What strict mode cannot express of *node*, and where."""
    where = ".".join(path) or "the schema"
    if not isinstance(node, dict):
        return f"{where} may be {'anything' if node is True else 'nothing'}"
    if refused := next((key for key in _REFUSED if key in node), None):
        return f"{where} has {refused!r}"
    if not {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "properties"} & node.keys():
        return f"{where} may be anything"
    if len(node.get("allOf", ())) > 1:
        return f"{where} has 'allOf'"
    if _is_open(node):
        return f"{where} has no fixed {'items' if node.get('type') == 'array' else 'keys'}"
    return next((found for name, child in _children(node) if (found := _problem(child, (*path, *name)))), None)


def _children(node: Json) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield from (((), node[key]) for key in _ONE if key in node and node[key] is not False)
    yield from (((), one) for key in _SEVERAL for one in node.get(key, ()))
    yield from (((name,), one) for key in _NAMED for name, one in node.get(key, {}).items())


def _strict(node: Any, null_for_defaults: bool) -> Any:
    if not isinstance(node, dict):
        return node
    if set(node) > {"$ref"}:
        # Strict mode takes nothing beside a reference.
        node = {**{key: value for key, value in node.items() if key != "$ref"}, "anyOf": [{"$ref": node["$ref"]}]}
    if len(node.get("allOf", ())) == 1:
        node = {**{key: value for key, value in node.items() if key != "allOf"}, **node["allOf"][0]}
        return _strict(node, null_for_defaults)
    if "oneOf" in node:
        # Of alternatives that a property tells apart, one fits at most.
        node = {**node, "anyOf": [*node.get("anyOf", ()), *node["oneOf"]]}
    result = {key: value for key, value in node.items() if key not in ("default", "oneOf", "discriminator")}
    if result.get("format") not in _FORMATS:
        result.pop("format", None)
    result |= {key: _strict(node[key], null_for_defaults) for key in _ONE if key in node}
    result |= {key: [_strict(one, null_for_defaults) for one in node[key]] for key in _SEVERAL if key in result}
    for key in _NAMED:
        if key in node:
            result[key] = {name: _strict(one, null_for_defaults) for name, one in node[key].items()}
    if "properties" in node or node.get("type") == "object":
        _close(result, node, null_for_defaults)
    return result


def _close(result: Json, node: Json, null_for_defaults: bool) -> None:
    properties, required = result.get("properties", {}), node.get("required", ())
    for name, child in properties.items():
        original = node["properties"][name]
        default = original.get("default") if isinstance(original, dict) else None
        if name not in required and (default is None or null_for_defaults):
            properties[name] = nullable(child)
    result |= {"properties": properties, "required": list(properties), "additionalProperties": False}


def nullable(schema: Json) -> Json:
    """*schema*, or null."""
    if allows_null(schema):
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [kind, "null"]}
    described: Json = {key: schema[key] for key in ("title", "description") if key in schema}
    return {**described, "anyOf": [schema, {"type": "null"}]}


def allows_null(schema: Any, root: Json | None = None) -> bool:
    """Whether null is a valid value of *schema*."""
    if not isinstance(schema, dict):
        return schema is True
    if "$ref" in schema and root is not None:
        return allows_null(_find(schema["$ref"], root), root)
    kind = schema.get("type")
    if kind == "null" or (isinstance(kind, list) and "null" in kind) or None in schema.get("enum", ()):
        return True
    return any(allows_null(one, root) for key in ("anyOf", "oneOf") for one in schema.get(key, ()))


def without_added_nulls(value: Any, schema: Any, root: Json | None = None) -> Any:
    """*value* without the nulls that only strict mode allowed: what they stand for was left out.

    Args:
        value: an answer to :func:`strict_schema` of *schema*.
        schema: the schema as it was.
        root: where references of *schema* are looked up; by default itself.
    """
    root = schema if root is None else root
    alternatives = _alternatives(schema, root) if isinstance(value, (dict, list)) else []
    pruned = [_pruned(value, one, root) for one in alternatives]
    if len(pruned) > 1:
        return next((one for one, known in zip(pruned, alternatives, strict=True) if _fits(one, known, root)), value)
    return pruned[0] if pruned else value


def _alternatives(schema: Any, root: Json) -> list[Json]:
    """The schemas of which *schema* is one, references followed."""
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return _alternatives(_find(schema["$ref"], root), root)
    parts = [one for key in ("anyOf", "oneOf", "allOf") for one in schema.get(key, ())]
    return [found for one in parts for found in _alternatives(one, root)] if parts else [schema]


def _pruned(value: Any, schema: Json, root: Json) -> Any:
    if isinstance(value, list):
        return [without_added_nulls(item, schema.get("items"), root) for item in value]
    properties = schema.get("properties", {})
    return {
        name: without_added_nulls(item, properties.get(name), root)
        for name, item in value.items()
        if item is not None or name not in properties or allows_null(properties[name], root)
    }


def _fits(value: Any, schema: Json, root: Json) -> bool:
    # Takes longer to import than all of this package.
    import jsonschema_rs

    definitions: Json = {key: root[key] for key in ("$defs", "definitions") if key in root}
    return jsonschema_rs.is_valid({**definitions, **schema}, value)


def _find(reference: str, root: Json) -> Json:
    found: Any = root
    for key in reference.removeprefix("#").split("/")[1:]:
        found = found[key.replace("~1", "/").replace("~0", "~")]
    return dict(found)


def _is_open(node: Json) -> bool:
    if node.get("type") == "array":
        return "items" not in node
    bare = "properties" not in node and node.get("type") == "object" and node.get("additionalProperties") is not False
    return bare or node.get("additionalProperties") not in (None, False)
