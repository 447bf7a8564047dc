"""The flowtable: packets of established connections leave at the ingress hook of their interface, past all
other hooks (Documentation/networking/nf_flowtable.rst; kube-proxy's KEP-4963; docs/adr/0020).

It is a table of its own, for IPv4 and IPv6, beside whatever the mode programs:

FlowtableKey(table)      -> Flowtable   the table, its flowtable, and the chain that puts connections in
FlowtableDeviceKey(name) -> ""          an interface whose packets are looked up; before it is known which
                                        ones the node has: a shell pattern

What is no packet of an established flow, or can't leave as it is (FIN, RST, IP options, larger than the MTU),
goes to the stack (nf_flow_offload_ip_hook() in nf_flow_table_ip.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import msgspec

from ..ir.model import Dataplane
from ..ir.node import DetectMode, Detector, Link
from ..program import Change, Key
from .nftables.resources import Rule

__all__ = [
    "FAMILY",
    "TABLE",
    "Flowtable",
    "FlowtableDeviceKey",
    "FlowtableKey",
    "chosen",
    "describe",
    "lower_flowtable",
    "parse",
    "probe_script",
    "render",
]

FAMILY, TABLE = "inet", "kcompile-fast"
_FLOWTABLE, _CHAIN = "flows", "forward"
_INGRESS = "hook ingress priority 0;"
_HOOK = "filter forward 100"
"""After every filter chain: who drops packets there has seen those of the connection so far."""

_FLOWS = "meta l4proto { tcp, udp } ct state established"
_ADD = f"flow add @{_FLOWTABLE}"


class FlowtableKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "flowtable"
    table: str = TABLE


class FlowtableDeviceKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "flowtable device"
    name: str


class Flowtable(msgspec.Struct, frozen=True):
    """`rules`: those of the chain. `unlike`: what a listing has that we never write."""

    rules: tuple[Rule, ...]
    unlike: tuple[str, ...] = ()


def lower_flowtable(dataplane: Dataplane, mode: str = "") -> dict[Key, Any]:
    """The resources for Settings.flowtable; empty without."""
    if not dataplane.settings.flowtable:
        return {}
    rules = _rules_beside_ipvs if mode == "ipvs" else _rules
    program: dict[Key, Any] = {FlowtableKey(): Flowtable(rules(dataplane.settings.detector))}
    return program | {FlowtableDeviceKey(pattern): "" for pattern in dataplane.settings.flowtable}


def _rules(detector: Detector) -> tuple[Rule, ...]:
    matches = [("ct status dnat", "Services")]
    if detector.interface:
        name = detector.interface + ("*" if detector.mode is DetectMode.INTERFACE_NAME_PREFIX else "")
        matches += [(f'{side}name "{name}"', "pods") for side in ("iif", "oif")]
    for family, cidr in (("ip", detector.cidr4), ("ip6", detector.cidr6)):
        if cidr and not detector.interface:
            matches += [(f"{family} {side} {cidr}", "pods") for side in ("saddr", "daddr")]
    return tuple([Rule.make(f"{_FLOWS} {match} {_ADD}", why) for match, why in matches])


def _rules_beside_ipvs(detector: Detector) -> tuple[Rule, ...]:
    """Connections that were made to a pod.

    Those to a Service are translated by hooks of IPVS, which isn't in conntrack's status
    (ip_vs_update_conntrack() in ip_vs_nfct.c): the flowtable would send them untranslated.
    """
    cidrs = [(family, cidr) for family, cidr in (("ip", detector.cidr4), ("ip6", detector.cidr6)) if cidr]
    return tuple(
        [Rule.make(f"{_FLOWS} ct original {family} daddr {cidr} {_ADD}", "to pods") for family, cidr in cidrs]
    )


def chosen(links: Iterable[Link], patterns: Sequence[str]) -> list[str]:
    """The interfaces that get the flowtable: those of `patterns` which packets are routed from.

    A port of a bridge or bond is none: its packets are looked up when they come out of that.
    """
    return [
        link.name
        for link in links
        if (link.ethernet or link.bare) and link.upper in ("", "vrf")
        if not link.loopback and link.kind != "dummy"
        if any(fnmatchcase(link.name, pattern) for pattern in patterns)
    ]


def describe(key: Key, value: Any) -> str:
    """The resource on one line."""
    if isinstance(key, FlowtableDeviceKey):
        return f"{key.kind} {key.name}"
    assert isinstance(key, FlowtableKey)
    text = f"flowtable {FAMILY} {key.table}: {'; '.join([rule.text or rule.comment for rule in value.rules])}"
    return f"{text} (and {', '.join(value.unlike)})" if value.unlike else text


def render(changes: Iterable[Change], devices: Sequence[str]) -> str:
    """One nft transaction; empty where nothing changes. `devices`: all that there are to be."""
    lines: list[str] = []
    for change in changes:
        if isinstance(change.key, FlowtableKey):
            removed = [f"delete table {FAMILY} {TABLE}"] if change.old is not None else []
            made = [] if change.new is None else _whole(change.new, devices)
            return "".join(f"{line}\n" for line in (*removed, *made))
        if isinstance(change.key, FlowtableDeviceKey):
            verb = "delete" if change.new is None else "add"
            lines.append(f"{verb} flowtable {FAMILY} {TABLE} {_FLOWTABLE} {_body([change.key.name])}")
    return "".join(f"{line}\n" for line in lines)


def _whole(value: Flowtable, devices: Sequence[str]) -> list[str]:
    kind, hook, priority = _HOOK.split()
    return [
        f"add table {FAMILY} {TABLE}",
        f"add flowtable {FAMILY} {TABLE} {_FLOWTABLE} {_body(devices)}",
        f"add chain {FAMILY} {TABLE} {_CHAIN} {{ type {kind} hook {hook} priority {priority}; }}",
        *(f"add rule {FAMILY} {TABLE} {_CHAIN} {rule.write()}" for rule in value.rules),
    ]


def _body(devices: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in devices)
    return f"{{ {_INGRESS} devices = {{ {names} }}; }}" if names else f"{{ {_INGRESS} }}"


def probe_script() -> str:
    """What a kernel with flowtables takes."""
    return "".join(f"{line}\n" for line in _whole(Flowtable(_rules(Detector())), ()))


def parse(objects: Iterable[tuple[str, dict[str, Any]]], flags: Sequence[str]) -> dict[Key, Any]:
    """The resources of a listing of our table: kind and body of each object (libnftables-json(5)).

    `flags`: those of the table, in nft's words.
    """
    program: dict[Key, Any] = {}
    rules: list[Rule] = []
    unlike = list(flags)
    missing = {"flowtable", "chain"}
    for kind, body in objects:
        name = body.get("name", "")
        if kind == "flowtable" and name == _FLOWTABLE:
            missing.discard(kind)
            unlike += _unlike_flowtable(body)
            devices = body.get("dev", [])
            for device in [devices] if isinstance(devices, str) else devices:
                program[FlowtableDeviceKey(device)] = ""
        elif kind == "chain" and name == _CHAIN:
            missing.discard(kind)
            hook = f"{body.get('type')} {body.get('hook')} {body.get('prio')}"
            if (hook, body.get("policy")) != (_HOOK, "accept"):
                unlike.append(f"chain {name} ({hook}, policy {body.get('policy')})")
        elif kind == "rule" and body.get("chain") == _CHAIN:
            rules.append(Rule("", body.get("comment", "")))
        elif kind not in ("table", "metainfo"):
            unlike.append(f"{kind} {name or body.get('chain', '')}")
    unlike += [f"no {kind}" for kind in sorted(missing)]
    return program | {FlowtableKey(): Flowtable(tuple(rules), tuple(unlike))}


def _unlike_flowtable(body: dict[str, Any]) -> list[str]:
    found = body.get("flags", [])
    unlike = [found] if isinstance(found, str) else list(found)
    where = (body.get("hook"), body.get("prio"))
    return unlike if where == ("ingress", 0) else [*unlike, f"flowtable at {where[0]} {where[1]}"]
