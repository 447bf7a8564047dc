"""Program -> its frontends."""

from __future__ import annotations

from ...program import Program
from ..base import FrontendView
from .resources import FrontendKey, PoolKey

__all__ = ["frontends"]


def frontends(program: Program) -> list[FrontendView]:
    """Every frontend, by Service name, then kind and address."""
    found = []
    for key, listener in program.items():
        if not isinstance(key, FrontendKey):
            continue
        version, protocol, address, port = key.version, key.protocol, key.address, key.port
        # the pool of outsiders first; without one, insiders may have one (externalTrafficPolicy Local)
        led = [words for words in (listener.others, listener.host, listener.pods) if words.startswith("dnat")]
        backends: tuple[str, ...] = ()
        if led:
            pool = program.get(PoolKey(version, protocol, listener.service, led[0].split()[1]))
            if pool is not None:
                backends = tuple(
                    [f"[{m.ip}]:{m.port}" if version == 6 else f"{m.ip}:{m.port}" for m in pool.members]
                )
        verdict = "dnat" if led else listener.others
        seconds = listener.affinity if led else 0
        found.append(
            FrontendView(
                listener.service,
                listener.kind,
                version,
                protocol.upper(),
                address or "*",
                port,
                verdict,
                backends,
                seconds,
            )
        )
    return sorted(found, key=lambda f: (f.service, f.family, f.kind, f.address, f.protocol, f.port))
