"""Program -> its frontends, from the elements and their comments alone, so also for an observed Program."""

from __future__ import annotations

from ...program import Program
from ..base import FrontendView
from .base import REJECT
from .resources import ChainKey, ElementKey, MapKey

__all__ = ["frontends"]

_SOURCES = (
    ("frontends", False),
    ("node-ports", True),
    ("blocked", False),
    ("blocked-external", False),
    ("blocked-node-ports", True),
)


def frontends(program: Program) -> list[FrontendView]:
    """Every frontend of `program`, by Service name, then kind and address."""
    found: dict[tuple[str, ...], FrontendView] = {}
    for map_name, node_port in _SOURCES:
        for key, value in program.items():
            if not isinstance(key, ElementKey) or key.map != map_name:
                continue
            family, element = key.family, key.key
            verdict, comment = value
            parts = element.split(" . ")
            address = "*" if node_port else parts[0]
            protocol, port = parts[-2].upper(), int(parts[-1])
            service, _, kind = comment.rpartition(" ")
            where = (family, address, protocol, str(port))
            if where in found:  # DNAT for insiders and drop for outsiders: shown as DNAT
                continue
            if verdict.startswith("goto ") and verdict != f"goto {REJECT}":
                backends, seconds = _backends(program, family, element, verdict[5:], node_port)
                decided = "dnat"
            else:
                backends, seconds = (), 0
                decided = "reject" if verdict.startswith("goto ") else "drop"
            version = 6 if family == "ip6" else 4
            found[where] = FrontendView(
                service, kind, version, protocol, address, port, decided, backends, seconds
            )
    return sorted(found.values(), key=lambda f: (f.service, f.family, f.kind, f.address, f.protocol, f.port))


def _backends(
    program: Program, family: str, key: str, chain: str, node_port: bool
) -> tuple[tuple[str, ...], int]:
    """The backends behind element `key` and its affinity seconds."""
    if chain.startswith("affinity-"):
        own = chain.split("-")[1]
        return _affinity_backends(program, family, own)
    *address, protocol, port = key.split(" . ")
    prefix = f"{protocol}-node-port-" if node_port else f"{protocol}-"
    slots = " . ".join((*address, port))
    for name in (prefix + "backends", prefix + "insiders"):
        backends: list[str] = []
        while (value := program.get(ElementKey(family, name, f"{slots} . {len(backends)}"))) is not None:
            ip, _, number = value[0].partition(" . ")
            backends.append(f"[{ip}]:{number}" if family == "ip6" else f"{ip}:{number}")
        if backends:
            return tuple(backends), 0
    return (), 0


def _affinity_backends(program: Program, family: str, own: str) -> tuple[tuple[str, ...], int]:
    """Backends and timeout of the affinity service `own`, from the comments of its DNAT rules."""
    backends, seconds = [], 0
    for key, value in program.items():
        if isinstance(key, ChainKey) and key.family == family and key.name.startswith(f"affinity-{own}-"):
            backends += [r.comment.split()[1] for r in value.rules if r.comment.startswith("to ")]
        elif isinstance(key, MapKey) and key.family == family and key.name.startswith(f"affinity-{own}-"):
            seconds = value.timeout
    return tuple(sorted(backends)), seconds
