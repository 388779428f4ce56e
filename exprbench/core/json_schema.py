"""JSON Schema of a dataclass, as `exprbench.core.schema.decode` validates it."""

from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass; the dataclasses in it are definitions."""
    definitions: dict[str, Any] = {}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_of(kind, definitions)}
    return {**schema, "$defs": dict(sorted(definitions.items()))}


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _of_fields(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin in (Union, UnionType):
        return {"anyOf": [_of(arg, definitions) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (dict, list, tuple):
        return _of_container(origin, args, definitions)
    return {"type": PLAIN[kind]}


def _of_container(origin: Any, args: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(args[1], definitions)}
    if origin is tuple and Ellipsis not in args:
        items = [_of(arg, definitions) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"type": "array", "items": _of(args[0], definitions)}


def _of_fields(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return {
        "type": "object",
        "description": (kind.__doc__ or "").strip().partition("\n")[0],
        "properties": {f.name: _of(hints[f.name], definitions) for f in fields(kind)},
        "required": required,
        "additionalProperties": False,
    }
