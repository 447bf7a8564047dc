"""One manifest, as JSON bytes or as plain values, to typed objects; a List to its items.

The API server's own strictness holds: ``port: "80"`` is an error, an unset field may be null. JSON goes from
bytes to structs without a stop in between: msgspec.Raw items, a peek at the kind, then the typed decode.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType, ValidationError

from ..errors import SpecError
from ..notices import Notice
from .fields import Finding, findings, has_duplicates, has_findings, is_whole
from .fields import duplicates as repeated
from .inventory import Inventory, Skipped
from .kinds import meant_kind
from .names import generated_name
from .objects import Namespace, Node, Object, Origin, ServiceCIDR
from .registry import KINDS, Kind, own_versions
from .text import Wrong, explain, printable, problem, shown
from .yaml_reader import Duplicate

__all__ = ["VALIDATE", "Decoder", "Manifest", "typed", "without_nulls"]

_MAX_LISTS = 8  # Lists inside Lists
VALIDATE = ("strict", "warn", "ignore")
"""What an unknown field is: an error, a warning or nothing (kubectl's --validate)."""

Manifest = Raw | dict[str, Any]
T = TypeVar("T")
_CLUSTER_SCOPED = (Node, Namespace, ServiceCIDR)


class _Head(msgspec.Struct, rename="camel"):
    """The fields that decide how to decode the rest; `items` stays undecoded."""

    kind: str | None = None
    api_version: str | None = None
    items: Any = UNSET


class _RawHead(msgspec.Struct, rename="camel", omit_defaults=True):
    kind: str | None = None
    api_version: str | None = None
    metadata: Raw | UnsetType = UNSET
    items: Raw | UnsetType = UNSET


class _Name(msgspec.Struct):
    name: Any = None
    namespace: Any = None


class _Named(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)


_head = msgspec.json.Decoder(_RawHead).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_typed = {kind.cls: msgspec.json.Decoder(kind.cls).decode for kind in KINDS.values()}
_OPENINGS = {
    f'{{"apiVersion":"{kind.version}","kind":"{kind.name}"'.encode(): kind for kind in KINDS.values()
}
"""How an object of each kind begins in JSON without blanks, when it begins as the API server's do."""
_LONGEST_OPENING = max(map(len, _OPENINGS)) + 2
_ITEMS_KEY = re.compile(rb'"items"\s*:\s*')


class Decoder:
    """Adds manifests to `inventory`; knows every object seen, so that none is defined twice.

    `validate`: one of VALIDATE.
    """

    def __init__(self, inventory: Inventory, validate: str = "warn") -> None:
        self.inventory, self._validate = inventory, validate
        self._lists: dict[str, list[Any]] = {
            kind.list: getattr(inventory, kind.list) for kind in KINDS.values()
        }
        self._seen: dict[tuple[type[Object], str, str], Object] = {}
        self._unnamed: dict[tuple[str, str], Iterator[int]] = {}  # counters by kind and generateName

    def add(
        self,
        manifest: Manifest,
        origin: Origin,
        duplicates: Sequence[Duplicate] = (),
        implied: tuple[str, str] = ("", ""),
        depth: int = 0,
        index: int = 0,
    ) -> None:
        """Decode `manifest` and keep it.

        `duplicates`: keys that came twice, where they can't be seen in it any more.

        Items of a List: `implied` kind and apiVersion they may leave out, `depth` and `index`.
        """
        if isinstance(manifest, Raw) and (known := _OPENINGS.get(_opening(manifest))) is not None:
            self._read(known, manifest, origin, duplicates)
            return
        try:
            head = _head(manifest) if isinstance(manifest, Raw) else msgspec.convert(manifest, _Head)
        except ValidationError as error:
            wrong = explain(error, _plain(manifest))
            if depth and not wrong.field:
                wrong.field = f"items[{index}]"
            raise self._error(manifest, origin, "", wrong) from None
        name, version = head.kind or implied[0], head.api_version or implied[1]
        if not name or not version:
            wrong = Wrong("this field is required", field="apiVersion" if name else "kind")
            raise self._error(manifest, origin, name or "", wrong)
        if (kind := KINDS.get((version, name))) is not None:
            self._read(kind, manifest, origin, duplicates)
        elif name.endswith("List") and head.items is not UNSET:
            self._check_list(manifest, head, origin, name, duplicates)
            self._add_items(head.items, origin, name.removesuffix("List"), version, depth, duplicates)
        elif name != "List":
            self._skip(manifest, origin, name, version, duplicates)

    def _read(self, kind: Kind, manifest: Manifest, origin: Origin, duplicates: Sequence[Duplicate]) -> None:
        """Decode an object of `kind` and keep it."""
        for twice in duplicates:
            raise self._error(manifest, origin, kind.name, Wrong(twice.message, field=twice.field))
        self.keep(kind, self.decoded(kind, manifest, origin))

    def decoded(self, kind: Kind, manifest: Manifest, origin: Origin) -> Object:
        """`manifest` as an object of `kind`. Raises SpecError."""
        try:
            obj = (
                _typed[kind.cls](manifest)
                if isinstance(manifest, Raw)
                else msgspec.convert(manifest, kind.cls)
            )
        except ValidationError as error:
            obj = self._forgiven(manifest, kind.cls, origin, kind.name, error)
        whole = isinstance(manifest, Raw) and is_whole(obj, kind.version, kind.name, manifest)
        if not whole and has_findings(kind.schema, manifest):
            self._inspect(manifest, origin, kind)
        if kind.convert is not None:
            obj = kind.convert(obj)
        obj.origin = origin
        return obj

    def _inspect(self, manifest: Manifest, origin: Origin, kind: Kind) -> None:
        """Refuse a duplicate key, and warn of fields that the API doesn't have."""
        for found in findings(kind.schema, manifest):
            if found.duplicate:
                raise self._error(manifest, origin, kind.name, Wrong("duplicate key", field=found.field))
            if self._validate != "ignore":
                message = f"unknown field, did you mean {found.meant}?" if found.meant else "unknown field"
                self._unknown(manifest, origin, kind.name, Wrong(message, field=found.field))

    def _unknown(self, manifest: Manifest, origin: Origin, kind: str, wrong: Wrong) -> None:
        error = self._error(manifest, origin, kind, wrong)
        if self._validate == "strict":
            raise error
        self.inventory.warnings.append(
            Notice("unknown-field", error.message, source=error.source, object=error.obj, field=error.field)
        )

    def _check_list(
        self,
        manifest: Manifest,
        head: _Head | _RawHead,
        origin: Origin,
        kind: str,
        duplicates: Sequence[Duplicate],
    ) -> None:
        """Find the keys of a List itself that came twice: an error where its items are read."""
        own = [each for each in duplicates if each.path[:1] != ("items",) or len(each.path) == 1]
        twice = [Wrong(each.message, field=each.field) for each in own]
        if (
            isinstance(manifest, Raw)
            and isinstance(head.items, Raw)
            and not _is_whole_list(head, head.items, manifest)
        ):
            twice = _wrong(repeated(_around(manifest, head.items)))
        read = kind == "List" or any(name == kind.removesuffix("List") for _, name in KINDS)
        for wrong in twice:
            self._twice(self._error(manifest, origin, kind, wrong), read=read)

    def _add_items(
        self, items: Any, origin: Origin, kind: str, version: str, depth: int, duplicates: Sequence[Duplicate]
    ) -> None:
        if depth == _MAX_LISTS:
            raise SpecError(
                f"Lists nested more than {_MAX_LISTS} deep",
                source=printable(origin.source),
                document=origin.document,
            )
        implied = (kind, version) if kind else ("", "")
        if isinstance(items, Raw):
            try:
                items = _items(items)
            except ValidationError:
                items = _plain(items)
        if items is not None and not isinstance(items, list):
            raise self._error({}, origin, f"{kind}List", Wrong("must be a list", field="items"))
        for index, item in enumerate(items or ()):
            own = [
                each.inside(2)
                for each in duplicates
                if each.path[:2] == ("items", index) and len(each.path) > 2
            ]
            self.add(item, origin, own, implied, depth + 1, index)

    def _forgiven(
        self, manifest: Manifest, cls: type[Object], origin: Origin, kind: str, error: ValidationError
    ) -> Object:
        """Decode again with leniency where the API server has it: a null is an absent field, 80.0 is 80.

        Raises SpecError where that fails too.
        """
        try:
            return typed(_plain(manifest), cls, error)
        except Wrong as wrong:
            raise self._error(manifest, origin, kind, wrong) from None

    def keep(self, kind: Kind, obj: Object) -> None:
        """Add `obj` to the inventory, with a namespace and a name.

        Raises SpecError where another object has its name.
        """
        meta, cls = obj.metadata, type(obj)
        meta.namespace = "" if cls in _CLUSTER_SCOPED else meta.namespace or "default"
        if meta.name:
            meta.forget()
        elif meta.generate_name:
            meta.name = self._generated(obj)
        else:
            raise problem(obj, "metadata.name", "a name is required")
        key = cls, meta.namespace, meta.name
        first = self._seen.setdefault(key, obj)
        if first is obj:
            self._lists[kind.list].append(obj)
            return
        place, obj.origin = obj.origin, first.origin
        same, obj.origin = obj == first, place
        if not same:
            where = f"{printable(first.origin.source)}, document {first.origin.document}"
            raise problem(obj, "", f"defined twice, and differently: first in {where}")

    def _generated(self, obj: Object) -> str:
        """A name for an object with a generateName: the same in each run for the first, the second ... of the
        input.
        """
        meta, cls = obj.metadata, type(obj)
        base = meta.generate_name or ""
        what = f"{cls.__name__} {meta.namespace}"
        numbers = self._unnamed.setdefault((what, base), itertools.count())
        names = (generated_name(what, base, number) for number in numbers)
        return next(name for name in names if (cls, meta.namespace, name) not in self._seen)

    def _skip(
        self, manifest: Manifest, origin: Origin, kind: str, version: str, duplicates: Sequence[Duplicate]
    ) -> None:
        """Note an object that isn't read. Raises SpecError for a known kind in an unknown version."""
        if versions := own_versions(version, kind):
            message = f"{shown(version)} is not a version of {kind} that is read here ({', '.join(versions)})"
            raise self._error(manifest, origin, kind, Wrong(message, field="apiVersion"))
        if meant := meant_kind(kind, version):
            message = f"kind {shown(kind)} of {version}: did you mean {meant}?"
            raise self._error(manifest, origin, "", Wrong(message))
        self.inventory.skipped.append(Skipped(origin, printable(f"{version}/{kind}"), _name_of(manifest)))
        twice = [Wrong(each.message, field=each.field) for each in duplicates]
        if isinstance(manifest, Raw) and has_duplicates(manifest):
            twice = _wrong(repeated(manifest))
        for wrong in twice:
            self._twice(self._error(manifest, origin, kind, wrong), read=False)

    def _twice(self, error: SpecError, *, read: bool) -> None:
        """Report a duplicate key: an `error` in a part that is read, else a warning."""
        if read:
            raise error
        notice = Notice(
            "duplicate-key", error.message, source=error.source, object=error.obj, field=error.field
        )
        self.inventory.warnings.append(notice)

    def _error(self, manifest: Manifest, origin: Origin, kind: str, wrong: Wrong) -> SpecError:
        name = _name_of(manifest)
        obj = f"{kind} {name}" if kind and name else kind or name
        return SpecError(
            wrong.message,
            source=printable(origin.source),
            document=origin.document,
            obj=printable(obj),
            field=wrong.field,
        )


def _wrong(found: Iterable[Finding]) -> list[Wrong]:
    return [Wrong("duplicate key", field=each.field) for each in found]


def _opening(manifest: Raw) -> bytes:
    """The first two fields of a JSON object, as written."""
    text = bytes(memoryview(manifest)[:_LONGEST_OPENING])
    return text[: text.find(b',"', text.find(b',"') + 1)]


def _is_whole_list(head: _Head | _RawHead, items: Raw, manifest: Raw) -> bool:
    """True if `head` holds all of the JSON List `manifest`, as `is_whole` tells for an object."""
    outside = msgspec.json.encode(msgspec.structs.replace(head, items=Raw(b"")))
    return len(outside) + len(memoryview(items)) == len(memoryview(manifest))


def _around(manifest: Raw, items: Raw) -> bytes:
    """The JSON List `manifest` with its (last) `items` replaced by 0."""
    text, inner = bytes(manifest), bytes(items)
    for match in _ITEMS_KEY.finditer(text):
        if text.startswith(inner, match.end()):
            return text[: match.end()] + b"0" + text[match.end() + len(inner) :]
    return text


def _plain(manifest: Manifest) -> Any:
    """The manifest as plain values, for a message; None where it can't be decoded (a number of thousands of
    digits).
    """
    try:
        return msgspec.json.decode(manifest) if isinstance(manifest, Raw) else manifest
    except ValidationError:
        return None


def without_nulls(value: Any) -> Any:
    """`value` without the keys whose value is null: to Kubernetes these are unset."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def typed(value: Any, cls: type[T], error: ValidationError | None = None) -> T:
    """`value`, plain values, as a `cls`, with leniency where the API server has it: a null is an absent
    field, 80.0 is 80.

    `error`: why it failed without. Raises Wrong where it fails with it too.
    """
    if error is None:
        try:
            return msgspec.convert(value, cls)
        except ValidationError as first:
            error = first
    for sign, fix in (("got `null`", without_nulls), ("Expected `int`, got `float`", _with_integers)):
        if sign in str(error):
            value = fix(value)
            try:
                return msgspec.convert(value, cls)
            except ValidationError as next_error:
                error = next_error
    raise explain(error, value)


def _with_integers(value: Any) -> Any:
    """`value` with its whole floats as integers."""
    if isinstance(value, dict):
        return {key: _with_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name_of(manifest: Manifest) -> str:
    """``namespace/name``, or the parts of it that are set, for messages."""
    try:
        named = (
            msgspec.json.decode(manifest, type=_Named)
            if isinstance(manifest, Raw)
            else msgspec.convert(manifest, _Named)
        )
    except ValidationError:
        return ""
    meta = named.metadata
    parts = [part for part in (meta.namespace, meta.name) if isinstance(part, str) and part]
    return printable("/".join(parts)) if isinstance(meta.name, str) else ""
