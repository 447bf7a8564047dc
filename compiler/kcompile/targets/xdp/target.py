"""The xdp target as one object (targets/base.py says what a target is)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...ir.model import Dataplane
from ...program import Change, Key, Program, diff
from ..base import FrontendView
from .layout import CONSTANTS, MAPS
from .lower import lower
from .resources import (
    AddressKey,
    AttachKey,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    LocalKey,
    PoolKey,
    RangeKey,
    ServiceKey,
    ServingKey,
    StrayKey,
)
from .view import frontends

__all__ = ["XdpTarget"]

_LEFT_OVER = "left by an apply that was killed"
_FOREIGN = "an entry that no apply writes"  # shown with the bytes of its key
_FLAGS = (("BACKEND_ON_NODE", "this node"), ("BACKEND_HAIRPIN", "may call itself"))


class XdpTarget:
    """Lowers to eBPF maps."""

    name = "xdp"
    uses_conntrack = False
    translates_in_nat = False
    stands_as_one = True

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return (4, 6) if ConfigKey() in observed else ()

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        return diff(observed, desired)

    def scripts(self, changes: Iterable[Change]) -> Mapping[str, str]:
        """What is written, a line a resource: bpf(2) has no script."""
        changes = tuple(changes)
        return _Script(self, changes) if changes else {}

    def describe(self, key: Key, value: Any) -> str:
        """One line; the first word is the kind of resource."""
        return f"{key.kind} {_text(key, value)}".rstrip()

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


class _Script(Mapping[str, str]):
    """The lines of a plan, made only when somebody reads them: a big Program has tens of thousands."""

    _LABEL = "bpf maps and attachments"
    _SIGNS = {"create": "+", "update": "~", "delete": "-"}

    def __init__(self, target: XdpTarget, changes: tuple[Change, ...]) -> None:
        self._target, self._changes = target, changes

    def __getitem__(self, label: str) -> str:
        if label != self._LABEL:
            raise KeyError(label)
        describe = self._target.describe
        return "".join(
            f"{self._SIGNS[c.action]} {describe(c.key, c.old if c.new is None else c.new)}\n"
            for c in self._changes
        )

    def __iter__(self) -> Iterator[str]:
        return iter((self._LABEL,))

    def __len__(self) -> int:
        return 1


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip or '*'}:{port}"


def _service(key: ServiceKey) -> str:
    return f"{key.service} ({key.protocol}, IPv{key.version})"


def _frontend(key: FrontendKey, value: Any) -> str:
    policy = value.others if value.pods == value.host == value.others else None
    outcome = policy or f"pods: {value.pods}; host: {value.host}; others: {value.others}"
    more = f", affinity {value.affinity} s" if value.affinity else ""
    family = " (IPv6)" if key.version == 6 and not key.address else ""
    ranges = ", source ranges" if value.ranges else ""
    frontend = f"{key.protocol} {_end(key.address, key.port)}{family}"
    return f"{frontend}: {outcome}{more}{ranges}  # {value.service} {value.kind}"


def _member(member: Any) -> str:
    notes = [text for name, text in _FLAGS if member.flags & CONSTANTS[name]]
    return _end(member.ip, member.port) + (f" ({', '.join(notes)})" if notes else "")


def _config(value: Any) -> str:
    pods = " and ".join(c for c in (value.pods4, value.pods6) if c) or "by interface, or not told apart"
    guarded = (
        f"; unallocated addresses of {', '.join(value.service_cidrs)} dropped" if value.service_cidrs else ""
    )
    how = "by chance" if value.random else "by Maglev hashing"
    return f"local pods: {pods}; backends {how}; sockets of the node: {value.sockets}{guarded}"


def _interface(key: InterfaceKey, value: Any) -> str:
    flags = {
        "pods come in here": value.pods,
        "peer in another namespace": value.peer,
        "XDP redirects here": value.xdp,
    }
    notes = [text for text, have in flags.items() if have]
    addresses = " and ".join(a for a in (value.address4, value.address6) if a)
    notes.append(f"masquerades as {addresses}" if addresses else "nothing to masquerade with")
    return f"{key.name}: {', '.join(notes)}"


def _text(key: Key, value: Any) -> str:
    """What `describe` says behind the kind."""
    match key:
        case FrontendKey():
            return _frontend(key, value)
        case PoolKey():
            members = ", ".join(map(_member, value.members))
            return f"{key.pool} of {_service(key)}, {value.size} places: {members}"
        case ServingKey():
            return f"{_service(key)}, for flows that are: {', '.join(_end(*end) for end in value)}"
        case RangeKey():
            return f"{key.cidr} may reach {_service(key)}"
        case AddressKey():
            return f"{key.address}, other ports: {value}"
        case LocalKey():
            return f"{key.address}{' answers NodePorts' if value.node_ports else ''}"
        case InterfaceKey():
            return _interface(key, value)
        case AttachKey():
            return f"{key.hook} {key.name} ({value})"
        case StrayKey("sizes", name):
            return f"map {name}: smaller than --xdp-capacity says"
        case StrayKey():
            foreign = isinstance(key.entry, str) and key.map in MAPS
            return f"{key.map} {key.entry}: {_FOREIGN if foreign else _LEFT_OVER}"
    return _config(value)
