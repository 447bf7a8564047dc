"""Reads the rules and devices of a netns and collects the facts. Changes nothing."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ... import spawn
from ...errors import KcompileError, KernelError, UnsupportedError
from ...targets.nftables.resources import TABLE
from .. import flowtable, iptables, netns
from ..drivers import installed
from ..kubeproxy.chains import Chains
from ..nftables import Nft, table_flags
from ..places import run_directory
from ..remember import recall
from .drift import changed_rules
from .listeners import listeners
from .node import kernel_modules, node_facts
from .packets import lost_packets
from .probes import probe
from .records import Facts, ForwardChain, LostPacket, RuleFacts, Variant, XdpFacts
from .xdp import xdp_facts

__all__ = ["gather", "summary"]

_FORWARD = re.compile(r"^:FORWARD (\w+)", re.MULTILINE)
_FORWARDS = re.compile(r"^-A FORWARD -m conntrack --ctstate \S*\bDNAT\b\S* -j ACCEPT$", re.MULTILINE)
_Tables = tuple[tuple[str, str], ...]
_OWN, _KUBERNETES = "KCOMPILE-", "KUBE-"


def gather(modes: Sequence[str], netns_name: str | None = None) -> Facts:
    """Probe `modes`, and read namespace `netns_name` (None: the current one)."""
    root = os.geteuid() == 0
    outcomes = probe(modes)
    with netns.entered(netns_name):
        rules = _rules() if root else RuleFacts()
        node = node_facts(run_directory())
        xdp = xdp_facts() if root else XdpFacts()
        flowtables = flowtable.lacking() if root else ""
    return Facts(
        root=root,
        netns=netns_name or "",
        probes=outcomes(),
        rules=rules,
        node=node,
        modules=kernel_modules(),
        xdp=xdp,
        flowtables=flowtables,
    )


def _rules() -> RuleFacts:
    unread: list[tuple[str, str]] = []
    variants: list[Variant] = []
    backends: tuple[iptables.Backend, ...] = ("legacy", "nft")
    for backend in backends:
        try:
            variants += [
                summary(backend, int(family[2:]), text) for family, text in iptables.saved(backend).items()
            ]
        except KernelError as e:
            unread.append((f"iptables-{backend}", str(e)))
    tables: tuple[tuple[str, str], ...] = ()
    chains: tuple[ForwardChain, ...] = ()
    dormant: tuple[tuple[str, str], ...] = ()
    try:
        tables, chains, dormant = _nftables()
    except KernelError as e:
        unread.append(("nftables", str(e)))
    devices, bridges = _devices()
    own: tuple[str, ...] = ()
    try:
        own = tuple(mode.driver.name for mode in installed("", run_directory()))
    except KcompileError as e:
        if not unread:
            unread.append(("kcompile's own rules", str(e)))
    applied = recall(run_directory())
    changed = 0
    try:
        changed = changed_rules(run_directory())
    except KcompileError as e:
        if not unread:
            unread.append(("the rules of the last apply", str(e)))
    lost: tuple[LostPacket, ...] = ()
    try:
        lost = tuple(_in_variant(packet) for packet in lost_packets(run_directory(), devices))
    except KcompileError as e:
        if not unread:
            unread.append(("the way of packets", str(e)))
    return RuleFacts(
        variants=tuple(variants),
        nft_tables=tables,
        forward_chains=chains,
        devices=devices,
        bridges=bridges,
        own_modes=own,
        applied=applied.mode if applied else "",
        changed=changed,
        unread=tuple(unread),
        lost=lost,
        dormant=dormant,
        listeners=listeners(run_directory()),
    )


def _in_variant(packet: LostPacket) -> LostPacket:
    """`packet` with the variant of iptables that has the rule which lost it."""
    tool, _, rest = packet.chain.partition(" ")
    if tool not in ("iptables", "ip6tables"):
        return packet
    table, _, chain = rest.partition(" ")
    family = "ip4" if tool == "iptables" else "ip6"
    policy = packet.rule.removeprefix("policy ").upper() if packet.rule.startswith("policy ") else ""
    wanted = f":{chain} {policy} [" if policy else f"-A {chain} {packet.rule}"
    backends: tuple[iptables.Backend, ...] = ("legacy", "nft")
    for backend in backends:
        text = table_of(iptables.saved(backend).get(family, ""), table)
        if any(line.startswith(wanted) for line in text.splitlines()):
            return msgspec.structs.replace(packet, variant=f"{tool}-{backend}")
    return packet


def summary(backend: str, family: int, text: str) -> Variant:
    """A summary of `text`, the output of iptables-save."""
    rules = [line for line in text.splitlines() if line.startswith("-A ")]
    own = sum(_OWN in rule for rule in rules)
    table = table_of(text, "filter")
    policy = _FORWARD.search(table)
    proxy = Chains(backend, family, text)
    return Variant(
        backend,
        family,
        kube_proxy=len(proxy.names) if proxy.found else 0,
        own=own,
        foreign=sum(_OWN not in rule and _KUBERNETES not in rule for rule in rules),
        chains=_foreign_chains(text),
        forward=policy[1] if policy else "",
        forwards_services=_FORWARDS.search(table) is not None,
    )


def table_of(text: str, table: str) -> str:
    """The part of iptables-save's output that is `table`: mangle and security have a FORWARD too."""
    _, _, rest = f"\n{text}".partition(f"\n*{table}\n")
    return rest.partition("\nCOMMIT")[0]


def _foreign_chains(text: str) -> frozenset[str]:
    """``table/chain`` of each user-defined chain that is neither kcompile's nor Kubernetes'."""
    table, found = "", set()
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif (
            line.startswith(":")
            and line.split()[1] == "-"
            and not line.startswith((f":{_OWN}", f":{_KUBERNETES}"))
        ):
            found.add(f"{table}/{line[1:].split()[0]}")
    return frozenset(found)


def _nftables() -> tuple[_Tables, tuple[ForwardChain, ...], _Tables]:
    """All tables, the foreign base chains at hook forward with policy drop, kcompile's dormant tables."""
    with Nft() as nft:
        listed = list(nft.objects("list tables", "table"))
        tables = tuple((t["family"], t["name"]) for t in listed)
        dormant = tuple(
            (t["family"], t["name"])
            for t in listed
            if t["name"] == TABLE and "dormant" in table_flags(t["family"], TABLE)
        )
        chains = [
            ForwardChain(c["family"], c["table"], c["name"], _forwards_services(nft, c))
            for c in nft.objects("list chains", "chain")
            if _drops_forwarded(c)
        ]
    return tables, tuple(chains), dormant


def _drops_forwarded(chain: dict[str, Any]) -> bool:
    """True for a base chain of hook forward with policy drop; iptables' own is seen through iptables."""
    if (chain["table"], chain["name"]) == ("filter", "FORWARD"):
        return False
    drops = chain.get("hook") == "forward" and chain.get("policy") == "drop"
    return drops and chain["family"] in ("ip", "ip6", "inet")


def _forwards_services(nft: Nft, chain: dict[str, Any]) -> bool:
    """Whether `chain` has the rule ``ct status dnat accept``."""
    for rule in nft.objects(f"list chain {chain['family']} {chain['table']} {chain['name']}", "rule"):
        match rule.get("expr"):
            case [{"match": {"left": {"ct": {"key": "status"}}, "right": "dnat"}}, {"accept": _}]:
                return True
    return False


def _devices() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All interfaces, and the bridges that have ports."""
    try:
        done = spawn.run(["ip", "-json", "-details", "link", "show"], capture_output=True)
    except UnsupportedError:  # a finding of its own
        return (), ()
    links = json.loads(done.stdout or b"[]")
    members = {link.get("master") for link in links}
    bridges = [
        link["ifname"]
        for link in links
        if link.get("linkinfo", {}).get("info_kind") == "bridge" and link["ifname"] in members
    ]
    return tuple(link["ifname"] for link in links), tuple(bridges)
