"""The first cause why a packet doesn't arrive."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .outcome import End, Ending, Step

__all__ = ["Cause", "first_cause", "is_ours"]

_ARRIVES = (End.DELIVERED, End.SENT)


class Cause(msgspec.Struct, frozen=True, rename="camel"):
    """Why a packet is lost: what is wrong, what shows it, and the command that fixes it (may be empty)."""

    reason: str
    evidence: str = ""
    fix: str = ""


def is_ours(step: Step) -> bool:
    """True for a chain or entry that kcompile writes."""
    return any("kcompile" in part or part.startswith("KCOMPILE-") for part in step.chain.split())


def first_cause(endings: Sequence[Ending]) -> Cause | None:
    """The cause of the likeliest end at which the packet is lost; None where it always arrives."""
    lost = [ending for ending in endings if ending.end not in _ARRIVES]
    if not lost:
        return None
    ending = max(lost, key=lambda ending: ending.weight)
    match ending.end:
        case End.UNKNOWN:
            return Cause(f"unknown, because the model has no {ending.reason}", _last(ending))
        case End.NO_ROUTE:
            destination = ending.packet.destination
            return Cause(
                f"this node has no route to {destination}",
                f"ip route get {destination}",
                f"ip route add {destination} via ...",
            )
        case End.NOT_FORWARDED:
            name = "net.ipv6.conf.all.forwarding" if ending.packet.version == 6 else "net.ipv4.ip_forward"
            return Cause("this node forwards nothing", f"{name} = 0", f"sysctl -w {name}=1")
    word = "rejects" if ending.end is End.REJECTED else "drops"
    if not ending.steps:
        return Cause(f"something {word} it")
    step = ending.steps[-1]
    whose = "kcompile's rule for it" if is_ours(step) else "a rule that isn't kcompile's"
    return Cause(f"{whose} {word} the packet, in {step.chain}", step.rule)


def _last(ending: Ending) -> str:
    return f"in {ending.steps[-1].chain}" if ending.steps else ""
