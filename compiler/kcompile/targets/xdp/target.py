"""The xdp target as one object (targets/base.py says what a target is)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...ir.model import Dataplane
from ...plan.diff import Change, diff
from ..base import FrontendView, Key, Program
from .layout import CONSTANTS, MAPS
from .lower import lower
from .view import frontends

__all__ = ["XdpTarget"]

_STRAYS = ("left by an apply that was killed", "an entry that no apply writes")  # the bytes of its key are shown
_FLAGS = (("BACKEND_ON_NODE", "this node"), ("BACKEND_HAIRPIN", "may call itself"))


class XdpTarget:
    """Lowers to eBPF maps."""

    name = "xdp"

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return (4, 6) if ("config",) in observed else ()

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        return diff(observed, desired)

    def scripts(self, changes: Iterable[Change]) -> Mapping[str, str]:
        """What is written, a line a resource: bpf(2) has no script."""
        changes = tuple(changes)
        return _Script(self, changes) if changes else {}

    def describe(self, key: Key, value: Any) -> str:
        """One line; the first word is the kind of resource."""
        text = _DESCRIBE[key[0]](key, value)
        return f"{key[0]} {text}".rstrip()

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


class _Script(Mapping[str, str]):
    """The lines for people, made when somebody reads them: no tool does, and a big Program has tens of thousands."""

    _LABEL = "bpf maps and attachments"
    _SIGNS = {"create": "+", "update": "~", "delete": "-"}

    def __init__(self, target: XdpTarget, changes: tuple[Change, ...]) -> None:
        self._target, self._changes = target, changes

    def __getitem__(self, label: str) -> str:
        if label != self._LABEL:
            raise KeyError(label)
        describe = self._target.describe
        return "".join(f"{self._SIGNS[c.action]} {describe(c.key, c.old if c.new is None else c.new)}\n" for c in self._changes)

    def __iter__(self) -> Iterator[str]:
        return iter((self._LABEL,))

    def __len__(self) -> int:
        return 1


def _end(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip or '*'}:{port}"


def _service(key: Key) -> str:
    return f"{key[3]} ({key[2]}, IPv{key[1]})"


def _frontend(key: Key, value: Any) -> str:
    policy = value.others if value.pods == value.host == value.others else None
    outcome = policy or f"pods: {value.pods}; host: {value.host}; others: {value.others}"
    more = f", affinity {value.affinity} s" if value.affinity else ""
    return f"{key[2]} {_end(key[3], key[4])}{' (IPv6)' if key[1] == 6 and not key[3] else ''}: {outcome}{more}" + (
        f"{', source ranges' if value.ranges else ''}  # {value.service} {value.kind}"
    )


def _member(member: Any) -> str:
    notes = [text for name, text in _FLAGS if member.flags & CONSTANTS[name]]
    return _end(member.ip, member.port) + (f" ({', '.join(notes)})" if notes else "")


def _config(_: Key, value: Any) -> str:
    pods = " and ".join(c for c in (value.pods4, value.pods6) if c) or "by interface, or not told apart"
    guarded = f"; unallocated addresses of {', '.join(value.service_cidrs)} dropped" if value.service_cidrs else ""
    how = "by chance" if value.random else "by Maglev hashing"
    return f"local pods: {pods}; backends {how}; sockets of the node: {value.sockets}{guarded}"


def _interface(key: Key, value: Any) -> str:
    notes = [
        text
        for have, text in ((value.pods, "pods come in here"), (value.peer, "peer in another namespace"), (value.xdp, "XDP redirects here"))
        if have
    ]
    addresses = " and ".join(a for a in (value.address4, value.address6) if a)
    return f"{key[1]}: {', '.join([*notes, f'masquerades as {addresses}' if addresses else 'nothing to masquerade with'])}"


_DESCRIBE: dict[str, Any] = {
    "config": _config,
    "local": lambda key, value: f"{key[2]}{' answers NodePorts' if value.node_ports else ''}",
    "interface": _interface,
    "range": lambda key, _: f"{key[4]} may reach {_service(key)}",
    "pool": lambda key, value: f"{key[4]} of {_service(key)}, {value.size} places: {', '.join(map(_member, value.members))}",
    "serving": lambda key, value: f"{_service(key)}, for flows that are: {', '.join(_end(*end) for end in value)}",
    "frontend": _frontend,
    "address": lambda key, value: f"{key[2]}, other ports: {value}",
    "attach": lambda key, value: f"{key[1]} {key[2]} ({value})",
    "stray": lambda key, _: f"{key[1]} {key[2]}: {_STRAYS[isinstance(key[2], str) and key[1] in MAPS]}",
}
