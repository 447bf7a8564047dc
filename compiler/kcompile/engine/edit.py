"""An edit of the input that was applied last: only the Services that it touches are read, checked and
compiled.

For the plain case alone: one JSON List of Services, EndpointSlices and Nodes, from which an apply came with
no warning, and in which nothing but EndpointSlices has changed, each still for its Service. All else is
read and compiled whole, and so is whatever looks odd on the way (docs/adr/0014).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..kernel.itemized import Itemized
from ..spec.load import Text
from ..spec.wellknown import SERVICE_LABEL
from .basis import given_basis

if TYPE_CHECKING:
    from ..ir.model import Dataplane, Family, HealthCheck, Protocol, ResolvedPort, ServicePort
    from ..spec.config import Config
    from .request import Request

__all__ = ["Items", "Touched", "is_taken", "itemize", "spliced", "touched"]

_KINDS = {"Service", "EndpointSlice", "Node"}
_DIGEST = 32
_MOST = 1000
"""Changed objects, beyond which everything is read again."""


class Items(NamedTuple):
    """The objects of one List: each as it stands in the text, and what is `known` of them."""

    source: str
    raw: list[msgspec.Raw]
    known: Itemized


class Touched(NamedTuple):
    """What an edit touches: `services`, as ``namespace/name``, and all that they are made of as `text`."""

    services: frozenset[str]
    text: Text


class _List(msgspec.Struct):
    kind: str
    items: list[msgspec.Raw]


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}


class _Head(msgspec.Struct):
    kind: str
    metadata: _Meta

    @property
    def place(self) -> str:
        """As in Itemized."""
        return f"{self.kind} {self.metadata.namespace or 'default'}/{self.metadata.name}"

    @property
    def service(self) -> str:
        """The Service that the object is, or is for, as in Itemized."""
        name = ""
        if self.kind == "Service":
            name = self.metadata.name
        elif self.kind == "EndpointSlice":
            name = self.metadata.labels.get(SERVICE_LABEL, "")
        return f"{self.metadata.namespace or 'default'}/{name}" if name else ""


class _Heads(msgspec.Struct):
    items: list[_Head]


def itemize(
    request: Request, config: Config, texts: Sequence[Text], before: Itemized | None = None
) -> Items | None:
    """The objects of `texts`; None where those aren't one List in JSON.

    :param before: those of an earlier input: what is byte for byte the same isn't looked into
    """
    if len(texts) != 1:
        return None
    source, data = texts[0]
    try:
        found = msgspec.json.decode(data, type=_List)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.kind != "List" or not found.items:
        return None
    first, last = bytes(found.items[0]), bytes(found.items[-1])
    start, end = data.find(first), data.rfind(last) + len(last)
    # what stands between the objects: with another key "items" it would be longer
    blanks = end - start - sum([memoryview(item).nbytes for item in found.items])
    around = [Text(source, data[:start]), Text(f"{blanks} {len(found.items)}", data[end:])]
    frame = given_basis(request, config, around)
    digests = b"".join([sha256(item).digest() for item in found.items])
    if before is not None and _is_edit(before, frame, digests, found.items):
        return Items(source, found.items, Itemized(frame, digests, before.places, before.services))
    try:
        heads = msgspec.json.decode(data, type=_Heads).items
    except (msgspec.DecodeError, RecursionError):
        return None
    if not {head.kind for head in heads} <= _KINDS:
        return None
    places, services = [head.place for head in heads], [head.service for head in heads]
    return Items(source, found.items, Itemized(frame, digests, places, services))


def _is_edit(before: Itemized, frame: bytes, digests: bytes, raw: list[msgspec.Raw]) -> bool:
    """Whether the objects `raw` are those of `before`, each for its Service, and only few have changed."""
    if (frame, len(digests)) != (before.frame, len(before.digests)):
        return False
    changed = _changed(digests, before.digests)
    if len(changed) > _MOST:
        return False
    try:
        heads = [(number, msgspec.json.decode(raw[number], type=_Head)) for number in changed]
    except (msgspec.DecodeError, RecursionError):
        return False
    return all((h.place, h.service) == (before.places[n], before.services[n]) for n, h in heads)


def _changed(new: bytes, old: bytes) -> list[int]:
    """The numbers of the objects whose digests differ."""
    starts = range(0, len(new), _DIGEST)
    return [at // _DIGEST for at in starts if new[at : at + _DIGEST] != old[at : at + _DIGEST]]


def touched(items: Items, before: Itemized) -> Touched | None:
    """The Services whose EndpointSlices have changed since `before`, with all of their slices and every Node;
    None where something else has changed, too.
    """
    new, old = items.known, before
    if (new.frame, len(new.digests)) != (old.frame, len(old.digests)):
        return None
    if (new.places, new.services) != (old.places, old.services):
        return None
    changed = _changed(new.digests, old.digests)
    services = {new.services[number] for number in changed}
    if not 0 < len(changed) <= _MOST or "" in services:
        return None
    if not all(new.places[number].startswith("EndpointSlice ") for number in changed):
        return None
    listed = zip(items.raw, new.places, new.services, strict=True)
    own = [(raw, place) for raw, place, service in listed if service in services or place.startswith("Node ")]
    if not {f"Service {service}" for service in services} <= {place for _, place in own}:
        return None
    text = b'{"apiVersion":"v1","kind":"List","items":[' + b",".join(bytes(raw) for raw, _ in own) + b"]}"
    return Touched(frozenset(services), Text(items.source, text))


def spliced(whole: Dataplane, part: Dataplane, services: Collection[str]) -> Dataplane | None:
    """`whole` with the ports and health checks that `part` has for `services`; None where those aren't the
    same ones, or one of the two is for another node, or has warnings.
    """
    if (whole.node, whole.settings) != (part.node, part.settings) or whole.notices or part.notices:
        return None
    ports = {_port(port): port for port in part.ports}
    names = {port.name for port in part.ports}
    checks = {_check(check): check for check in part.health_checks}
    held = {_port(port) for port in whole.ports if port.name.partition(":")[0] in services}
    held_checks = {_check(c) for c in whole.health_checks if f"{c.namespace}/{c.service}" in services}
    if held != set(ports) or held_checks != set(checks):
        return None
    return msgspec.structs.replace(
        whole,
        ports=tuple([ports[_port(p)] if p.name in names else p for p in whole.ports]),
        health_checks=tuple([checks.get(_check(check), check) for check in whole.health_checks]),
    )


def is_taken(whole: Dataplane, part: Iterable[ServicePort]) -> bool:
    """Whether an endpoint of `part` has an address by which `whole` is reached: a mode that binds addresses
    leaves that out of any Service (passes/occupied.py).
    """
    endpoints = {endpoint.ip for port in part for endpoint in port.endpoints}
    return any(frontend.address in endpoints for port in whole.ports for frontend in port.frontends)


def _port(port: ResolvedPort) -> tuple[str, Protocol, Family]:
    return port.name, port.protocol, port.family


def _check(check: HealthCheck) -> tuple[int, str, str]:
    return check.port, check.namespace, check.service
