"""The three forms of a patch: JSON (RFC 6902), merge (RFC 7386) and strategic merge.

Strategic merge follows apimachinery's pkg/util/strategicpatch; which lists merge, and by which key, is in
the schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .schema import field_of, items_of
from .status import StatusError, bad_request

__all__ = ["FORMS", "patched"]

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_DIRECTIVES = ("$patch", "$retainKeys")
Schema = dict[str, Any]


def patched(obj: dict[str, Any], patch: Any, form: str, schema: Schema) -> dict[str, Any]:
    """`obj`, which may be changed, after `patch` in one of FORMS.

    :raises StatusError: 400 for a patch that isn't one; 422 for one that can't be applied
    """
    found = FORMS[form](obj, patch, schema)
    if not isinstance(found, dict):
        raise bad_request("the patch makes the object something else than an object")
    return found


def _json(obj: dict[str, Any], patch: Any, _schema: Schema) -> Any:
    import jsonpatch

    if not isinstance(patch, list):
        raise bad_request("a JSON patch must be a list of operations")
    try:
        return jsonpatch.apply_patch(obj, patch, in_place=True)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"the JSON patch can't be read: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise StatusError(422, "Invalid", f"the JSON patch can't be applied: {error}") from None


def _merge(obj: Any, patch: Any, _schema: Schema) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(obj) if isinstance(obj, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge(result.get(name), value, _schema)
    return result


def _strategic(obj: dict[str, Any], patch: Any, schema: Schema) -> Any:
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch must be an object")
    return _merged_map(obj, patch, schema)


FORMS: dict[str, Callable[[dict[str, Any], Any, Schema], Any]] = {
    "json": _json,
    "merge": _merge,
    "strategic": _strategic,
}


def _merged_map(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """mergeMap."""
    match patch.get("$patch"):
        case "replace":
            return {name: value for name, value in patch.items() if name != "$patch"}
        case "delete":
            return {}
        case None | "merge":
            result = dict(original)
        case other:
            raise bad_request(f"unknown patch type {other!r} found")
    if (kept := patch.get("$retainKeys")) is not None:
        result = {name: value for name, value in result.items() if name in kept}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            field = name.removeprefix(_DELETE)
            result[field] = [item for item in result.get(field) or () if item not in value]
        elif name not in _DIRECTIVES and not name.startswith(_ORDER):
            _put(result, name, value, field_of(schema, name) or {})
    for name, value in patch.items():
        if name.startswith(_ORDER) and name.removeprefix(_ORDER) in result:
            field = name.removeprefix(_ORDER)
            merge_key = (field_of(schema, field) or {}).get("x-kubernetes-patch-merge-key", "")
            result[field] = _ordered(result[field], value, original.get(field) or (), merge_key)
    return result


def _put(result: dict[str, Any], name: str, value: Any, schema: Schema) -> None:
    """One field of a patch into an object."""
    if value is None:
        result.pop(name, None)
    elif isinstance(value, dict):
        before = result.get(name)
        result[name] = _merged_map(before if isinstance(before, dict) else {}, value, schema)
    elif isinstance(value, list) and _merges(schema):
        before = result.get(name)
        result[name] = _merged_list(before if isinstance(before, list) else [], value, schema)
    else:
        result[name] = value


def _merges(schema: Schema) -> bool:
    return "merge" in schema.get("x-kubernetes-patch-strategy", "").split(",")


def _merged_list(original: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    """mergeSlice: items that the patch has go where it has them, the others stay in their order."""
    key = schema.get("x-kubernetes-patch-merge-key", "")
    if not key:
        both = original + patch
        unique = [item for index, item in enumerate(both) if item not in both[:index]]
        return _ordered(unique, patch, original, "")
    if any(not isinstance(item, dict) or ("$patch" not in item and key not in item) for item in patch):
        raise bad_request(f"map: the items of a patched list need their merge key {key!r}")
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    gone = [item.get(key) for item in patch if item.get("$patch") == "delete"]
    result = [item for item in original if item.get(key) not in gone]
    wanted = [item for item in patch if item.get("$patch") != "delete"]
    items = items_of(schema)
    for item in wanted:
        place = next((index for index, old in enumerate(result) if old.get(key) == item[key]), len(result))
        before = result[place] if place < len(result) else {}
        result[place : place + 1] = [_merged_map(before, item, items)]
    return _ordered(result, wanted, original, key)


def _ordered(items: list[Any], wanted: Sequence[Any], before: Sequence[Any], key: str) -> list[Any]:
    """normalizeElementOrder: those of `wanted` in its order, among the others in the order of `before`."""

    def named(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    order, old = [named(item) for item in wanted], [named(item) for item in before]
    asked = [item for item in items if named(item) in order]
    first = sorted(asked, key=lambda item: order.index(named(item)))
    others = [item for item in items if named(item) not in order]
    result = []
    while first and others:
        mine, other = named(first[0]), named(others[0])
        other_first = mine in old and other in old and old.index(other) < old.index(mine)
        result.append(others.pop(0) if other_first else first.pop(0))
    return result + first + others
