"""List pages and watch events to the objects of spec/objects.py, slimmed to what rules are made from.

JSON goes to typed structs in one step; fields that the structs lack (managedFields, above all) are skipped
without being made. Where that step fails, the objects are decoded one by one: a bad one costs only itself.
An API server has defaulted and checked its objects, so neither is done here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Raw

from ...errors import ApiError, SpecError
from ...spec.decode import without_nulls
from ...spec.gcpause import gc_paused
from ...spec.objects import EndpointSlice, Object, Service
from ...spec.text import explain, printable
from ...spec.wellknown import HEADLESS_LABEL, PROXY_NAME_LABEL, SERVICE_LABEL
from .failures import refusal
from .resources import Resource

__all__ = ["Decoder", "Event", "Item", "Page"]

_T = TypeVar("_T")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
_INITIAL_END = "k8s.io/initial-events-end"
_SLICE_LABELS = (SERVICE_LABEL, PROXY_NAME_LABEL, HEADLESS_LABEL)
_SOURCE = "API server"


class Item(NamedTuple):
    """One object as the server sent it: `object`, or the `error` for which it can't be read."""

    namespace: str
    name: str
    version: str
    object: Object | None
    error: SpecError | None = None


class Page(NamedTuple):
    """One page of a list; `more` is the continue token, empty on the last page."""

    items: list[Item]
    version: str
    more: str


class Event(NamedTuple):
    """One event of a watch.

    `initial_end`: the bookmark after which a streamed list is whole. ERROR events are raised instead.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    item: Item
    initial_end: bool = False


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    more: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[_T]):
    metadata: _ListMeta
    items: list[_T] | None = None


class _Event(msgspec.Struct, Generic[_T]):
    type: str
    object: _T


class _AnyMeta(msgspec.Struct, rename="camel"):
    name: Any = None
    namespace: Any = None
    resource_version: Any = None
    annotations: Any = None


class _Any(msgspec.Struct):
    metadata: _AnyMeta = msgspec.field(default_factory=_AnyMeta)


_raw_page = msgspec.json.Decoder(_Page[Raw]).decode
_raw_event = msgspec.json.Decoder(_Event[Raw]).decode
_any = msgspec.json.Decoder(_Any).decode


class Decoder:
    """For one kind."""

    def __init__(self, resource: Resource) -> None:
        self._cls, self._kind = resource.cls, resource.kind
        self._what = resource.plural
        self._page: Callable[[bytes], _Page[Any]] = msgspec.json.Decoder(_Page[resource.cls]).decode  # type: ignore[name-defined]
        self._event: Callable[[bytes], _Event[Any]] = msgspec.json.Decoder(_Event[resource.cls]).decode  # type: ignore[name-defined]

    @gc_paused()
    def page(self, body: bytes) -> Page:
        """The page of a list in `body`. Raises ApiError for what isn't one."""
        try:
            page = self._page(body)
            items = [_item(each) for each in page.items or ()]
        except msgspec.ValidationError:
            raw = self._whole(_raw_page, body)
            page, items = raw, [self._forgiven(each) for each in raw.items or ()]
        except msgspec.DecodeError as error:
            raise self._not_json(error) from None
        return Page(items, page.metadata.resource_version, page.metadata.more)

    def event(self, line: bytes) -> Event:
        """The event in one `line` of a watch. Raises RefusedError or ExpiredError for an ERROR event."""
        try:
            event = self._event(line)
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                return Event(cast("Any", event.type), _item(event.object))
        except msgspec.ValidationError:
            pass
        except msgspec.DecodeError as error:
            raise self._not_json(error) from None
        raw = self._whole(_raw_event, line)
        if raw.type == "ERROR":
            raise refusal(bytes(raw.object), f"watch of {self._what}")
        if raw.type == "BOOKMARK":
            meta = _any(raw.object).metadata
            ends = isinstance(meta.annotations, dict) and meta.annotations.get(_INITIAL_END) == "true"
            return Event("BOOKMARK", Item("", "", _text(meta.resource_version), None), ends)
        if raw.type not in ("ADDED", "MODIFIED", "DELETED"):
            raise ApiError(f"watch of {self._what}: an event of an unknown type {printable(raw.type)}")
        return Event(cast("Any", raw.type), self._forgiven(raw.object))

    def _whole(self, decode: Callable[[bytes], _T], text: bytes) -> _T:
        try:
            return decode(text)
        except msgspec.DecodeError as error:
            raise self._not_json(error) from None

    def _not_json(self, error: Exception) -> ApiError:
        return ApiError(f"{self._what}: the answer can't be read: {printable(str(error))}")

    def _forgiven(self, raw: Raw) -> Item:
        """One object, with null for absent as Go reads it; an Item with the error where that fails too."""
        value = msgspec.json.decode(raw)
        try:
            return _item(msgspec.convert(without_nulls(value), self._cls))
        except msgspec.ValidationError as error:
            wrong = explain(error, value)
        try:
            meta = _any(raw).metadata
        except msgspec.ValidationError:
            meta = _AnyMeta()
        namespace, name = _text(meta.namespace), _text(meta.name)
        described = " ".join(filter(None, (self._kind, "/".join(filter(None, (namespace, name))))))
        bad = SpecError(wrong.message, source=_SOURCE, obj=printable(described), field=wrong.field)
        return Item(namespace, name, _text(meta.resource_version), None, bad)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _item(item: Object) -> Item:
    """`item`, slimmed in place: what repeats is shared, what no rule or DNS record needs is dropped."""
    meta = item.metadata
    version = meta.resource_version or ""
    meta.forget()
    meta.namespace = sys.intern(meta.namespace)
    annotations = meta.annotations
    if isinstance(item, EndpointSlice):
        _slim(item)
    elif not isinstance(item, Service):  # a node's annotations change with each heartbeat of some agents
        meta.annotations = None
    elif annotations is not None and _LAST_APPLIED in annotations:
        del annotations[_LAST_APPLIED]
    return Item(meta.namespace, meta.name, version, item)


def _slim(item: EndpointSlice) -> None:
    meta = item.metadata
    if meta.labels:
        meta.labels = {key: meta.labels[key] for key in _SLICE_LABELS if key in meta.labels}
    if meta.annotations:
        time = meta.annotations.get(_TRIGGER_TIME)
        meta.annotations = {_TRIGGER_TIME: time} if time is not None else None
    for endpoint in item.endpoints or ():
        endpoint.target_ref = None
        if endpoint.node_name is not None:
            endpoint.node_name = sys.intern(endpoint.node_name)
        if endpoint.zone is not None:
            endpoint.zone = sys.intern(endpoint.zone)
