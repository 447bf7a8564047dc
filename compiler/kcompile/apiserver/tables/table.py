"""A Table of a list or an object, and the tables of a watch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..records import Stored
from ..resources import Resource
from ..status import bad_request
from .columns import KINDS

__all__ = ["TableLines", "table_body"]

_INCLUDES = ("", "Metadata", "Object", "None")
_HEAD = {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}


def table_body(resource: Resource, items: Sequence[Stored], meta: dict[str, Any], include: str) -> bytes:
    """The Table of `items`, with the metadata of their list. `include`: the query's includeObject.

    :raises StatusError: 400 for an unknown `include`
    """
    _check(include)
    columns = KINDS[resource.kind]
    rows = [_row(resource, item.object(), include) for item in items]
    return msgspec.json.encode(
        {**_HEAD, "metadata": meta, "columnDefinitions": columns.definitions, "rows": rows}
    )


class TableLines:
    """The lines of a watch that wants tables: each event is a row, the first one has the columns too."""

    def __init__(self, resource: Resource, include: str) -> None:
        _check(include)
        self._resource, self._include, self._first = resource, include, True

    def line(self, kind: str, obj: dict[str, Any]) -> bytes:
        """One line of the watch's body. `kind`: ADDED, MODIFIED, DELETED or BOOKMARK."""
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        row = _row(self._resource, obj, self._include, empty=kind == "BOOKMARK")
        columns = KINDS[self._resource.kind].definitions if self._first else None
        self._first = False
        table = {**_HEAD, "metadata": meta, "columnDefinitions": columns, "rows": [row]}
        return msgspec.json.encode({"type": kind, "object": table}) + b"\n"


def _check(include: str) -> None:
    if include not in _INCLUDES:
        raise bad_request(f'unrecognized includeObject value: "{include}"')


def _row(resource: Resource, obj: dict[str, Any], include: str, *, empty: bool = False) -> dict[str, Any]:
    cells = [] if empty else KINDS[resource.kind].cells(obj)
    if include == "None":
        return {"cells": cells, "object": None}
    if include != "Object":
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        obj = partial | {"metadata": obj["metadata"]}
    return {"cells": cells, "object": obj}
