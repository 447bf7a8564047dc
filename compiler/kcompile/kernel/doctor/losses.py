"""The checks on packets that don't arrive: what the walk found, and parts that are switched off."""

from __future__ import annotations

from collections.abc import Iterator

from . import advice
from .records import Facts, Finding, LostPacket

__all__ = ["dormant", "interfaces", "node_ports", "packets"]


def packets(facts: Facts) -> Iterator[Finding]:
    """One finding a cause.

    That a packet isn't translated is none where a dormant table explains it.
    """
    for lost in facts.rules.lost:
        if lost.end == "not translated" and facts.rules.dormant:
            continue
        yield Finding("packets", "error", _said(lost), _fix(facts, lost))


def _said(lost: LostPacket) -> str:
    where = f"{lost.variant or lost.chain.partition(' ')[0]} {lost.chain.partition(' ')[2]}"
    rule = f": {lost.rule}" if lost.rule else ""
    match lost.end:
        case "no route":
            return f"a packet to {lost.what} is lost: this node has no route to {lost.asked}"
        case "not translated":
            return f"a packet to {lost.what} is not translated: kcompile's rules for it are gone"
        case "translated elsewhere":
            return f"a packet to {lost.what} goes to {lost.went_to} instead, by {where}{rule}"
    whose = "kcompile's own rules" if lost.ours else "a foreign rule"
    return f"a packet to {lost.what} is {lost.end} by {whose} in {where}{rule}"


def _fix(facts: Facts, lost: LostPacket) -> tuple[str, ...]:
    if lost.end == "no route":
        return (advice.inside(facts.netns, f"ip route add {lost.asked} via GATEWAY"),)
    if lost.ours or lost.end == "not translated":
        mode = facts.rules.applied
        return (advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS", "--mode", mode),)
    return (advice.inside(facts.netns, advice.accept_packet(lost)),) if lost.chain else ()


def node_ports(facts: Facts) -> Iterator[Finding]:
    """Processes that listen on a NodePort: the Service's rules come first, so nobody reaches them there."""
    for listener in facts.rules.listeners:
        who = f"{listener.name} (pid {listener.pid})" if listener.pid else "a process"
        message = (
            f"{who} listens on {listener.port}/{listener.protocol}, the NodePort of {listener.service}: "
            "connections from outside go to the Service"
        )
        fix = (f"kill {listener.pid}",) if listener.pid else ()
        yield Finding("node-ports", "warning", message, fix)


def dormant(facts: Facts) -> Iterator[Finding]:
    """Tables of kcompile with the flag dormant: their chains run no more (NFT_TABLE_F_DORMANT)."""
    for family, table in facts.rules.dormant:
        message = f"nft table {family} {table} is dormant: none of its rules run"
        fix = advice.inside(facts.netns, f"nft add table {family} {table}")
        yield Finding("dormant", "error", message, (fix,))


def interfaces(facts: Facts) -> Iterator[Finding]:
    """IPv4 alone: an IPv6 node decides by net.ipv6.conf.all.forwarding."""
    for name in facts.node.not_forwarding:
        sysctl = f"net.ipv4.conf.{name}.forwarding"
        message = f"{sysctl} is 0: what comes in by {name} is not forwarded, to pods or from them"
        fix = advice.inside(facts.netns, f"sysctl -w net/ipv4/conf/{name}/forwarding=1")
        yield Finding("forwarding-of-interfaces", "warning", message, (fix,))
