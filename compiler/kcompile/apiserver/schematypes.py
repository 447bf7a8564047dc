"""Types for msgspec, made of the published schemas: whether an object has its kind's types, at C's speed.

They know less than the schemas (a fraction that is a whole number, a null in a list): what doesn't convert
is looked at again, field by field.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, ValidationError

__all__ = ["Types"]

Schema = dict[str, Any]
_PREFIX = "#/components/schemas/"
_BASE64 = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_FORMS = {
    "date-time": Annotated[datetime, Meta(tz=True)],
    "byte": Annotated[str, Meta(pattern=_BASE64)],
}
_PLAIN = {"integer": int, "number": float | int, "boolean": bool}


class Types:
    """The types of `schemas`, each made when it is first asked for."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self._schemas = schemas
        self._named: dict[str, Any] = {}
        self._whole: dict[int, Any] = {}  # by the schema's identity: schemas are never dropped

    def converts(self, schema: Schema, value: Any) -> bool:
        """True if `value` has the types of `schema`, one of a kind; false where that isn't sure."""
        if (wanted := self._whole.get(id(schema))) is None:
            wanted = self._whole[id(schema)] = self._type(schema)
        try:
            msgspec.convert(value, wanted)
        except ValidationError:
            return False
        return True

    def _type(self, schema: Schema) -> Any:
        reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf") or ()), None)
        if reference:
            return self._reference(reference.removeprefix(_PREFIX))
        if "oneOf" in schema:
            return str | float | int
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self._struct(schema["properties"])
            case "object":
                return dict[str, self._type(schema.get("additionalProperties") or {})]  # type: ignore[misc]
            case "array":
                return list[self._type(schema.get("items") or {})]  # type: ignore[misc]
            case "string":
                return _FORMS.get(schema.get("format", ""), str)
            case kind:
                return _PLAIN.get(str(kind), Any)

    def _reference(self, name: str) -> Any:
        if name not in self._named:
            self._named[name] = Any  # what refers to itself isn't followed
            self._named[name] = self._type(self._schemas[name])
        return self._named[name]

    def _struct(self, properties: dict[str, Schema]) -> Any:
        """A struct of optional fields; their names may be words of Python's, so they have others inside."""
        names = {f"field_{place}": name for place, name in enumerate(properties)}
        fields = [(own, self._type(properties[name]) | None, None) for own, name in names.items()]
        return msgspec.defstruct("Fields", fields, rename=names, gc=False)
