"""Facts (what was read from the node) and Report (the result of the checks)."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..kubeproxy.process import Process

__all__ = [
    "MODES",
    "Facts",
    "Finding",
    "ForwardChain",
    "Holder",
    "KernelModules",
    "Lack",
    "Listener",
    "ModeProbe",
    "ModeReport",
    "NodeFacts",
    "Owner",
    "Report",
    "RuleFacts",
    "Severity",
    "Variant",
    "XdpFacts",
]

MODES = ("nftables", "iptables-legacy", "iptables-nft", "ipvs", "xdp")
Severity = Literal["ok", "note", "warning", "error"]


class Lack(msgspec.Struct, frozen=True):
    """A feature that the kernel refused for IP `family`, with its error message.

    `costs`: what doesn't work without it; empty: the whole mode.
    """

    feature: str
    family: int
    message: str
    modules: tuple[str, ...] = ()
    costs: str = ""


class ModeProbe(msgspec.Struct, frozen=True):
    """Result of probing `mode`.

    `tool`: a required file that is missing; `unknown`: why the mode could not be probed.
    """

    mode: str
    lacks: tuple[Lack, ...] = ()
    tool: str = ""
    unknown: str = ""

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that the mode supports here: those that lack no required feature."""
        if self.tool or self.unknown:
            return ()
        return tuple(f for f in (4, 6) if not any(lack.family == f and not lack.costs for lack in self.lacks))


class Variant(msgspec.Struct, frozen=True):
    """One iptables variant (``legacy``, ``nft``) in one family: how many rules, and whose.

    `foreign` leaves out kcompile's and those of Kubernetes; `chains` are the foreign ones, with their table.
    `forward` is the policy of chain FORWARD; `forwards_services`: a rule there accepts DNATed packets.
    """

    backend: str
    family: int
    kube_proxy: int = 0
    own: int = 0
    foreign: int = 0
    chains: frozenset[str] = frozenset()
    forward: str = ""
    forwards_services: bool = False

    @property
    def tool(self) -> str:
        return f"{'ip6tables' if self.family == 6 else 'iptables'}-{self.backend}"


class ForwardChain(msgspec.Struct, frozen=True):
    """A foreign nftables base chain at hook forward with policy drop."""

    family: str
    table: str
    name: str
    forwards_services: bool = False


class LostPacket(msgspec.Struct, frozen=True, kw_only=True):
    """A packet that the live rules don't bring where the last apply wants it, the first of its cause.

    `what`: where it was sent to, for people; `end`: what became of it. `asked` and `port`: its destination
    where that happened; `translated`: by then conntrack had given it a new one. `chain` and `rule`: what did
    it, `variant`: the variant of iptables that has the chain; `ours`: it is kcompile's. `went_to`: its last
    destination; `cause_of` tells causes without a rule apart.
    """

    what: str
    end: str
    protocol: str
    asked: str
    port: int
    translated: bool
    chain: str = ""
    rule: str = ""
    ours: bool = False
    went_to: str = ""
    cause_of: str = ""
    variant: str = ""


class Listener(msgspec.Struct, frozen=True):
    """A socket on a NodePort of `service`; `pid` 0: its process can't be seen."""

    service: str
    protocol: str
    port: int
    pid: int = 0
    name: str = ""


class RuleFacts(msgspec.Struct, frozen=True):
    """The rules and devices of the namespace.

    `changed`: how many of kcompile's resources differ from the last apply.

    `unread`: pairs of what could not be read, and why. `lost`: packets that don't arrive. `dormant`: tables
    of kcompile that are switched off, with their families. `listeners`: sockets on NodePorts.
    """

    variants: tuple[Variant, ...] = ()
    nft_tables: tuple[tuple[str, str], ...] = ()
    forward_chains: tuple[ForwardChain, ...] = ()
    devices: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    own_modes: tuple[str, ...] = ()
    applied: str = ""
    changed: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    lost: tuple[LostPacket, ...] = ()
    dormant: tuple[tuple[str, str], ...] = ()
    listeners: tuple[Listener, ...] = ()


class Holder(msgspec.Struct, frozen=True):
    """The processes that hold kcompile's lock; `command` and `seconds` (age) are those of the first."""

    pids: tuple[int, ...]
    command: str
    seconds: int


class KernelModules(msgspec.Struct, frozen=True):
    """Kernel modules.

    `loadable`: the kernel supports modules; `locked`: loading is disabled until reboot (modules_disabled);
    `folder`: /lib/modules has this release; `others`: it has other releases; `available`: modules in there;
    `present`: loaded or built in.
    """

    release: str = ""
    loadable: bool = True
    locked: bool = False
    folder: bool = True
    others: bool = False
    available: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()


class NodeFacts(msgspec.Struct, frozen=True):
    """Facts that aren't rules.

    `rp_filter`: interface -> value. `not_forwarding`: interfaces that forward nothing while the node does.
    `reverted`: sysctls that apply changed and that have their old value
    again. `agent`: the ``kcompile run`` that holds this node, in words.
    """

    sysctls: dict[str, str] = {}
    rp_filter: dict[str, int] = {}
    not_forwarding: tuple[str, ...] = ()
    reverted: tuple[str, ...] = ()
    stale_state: str = ""
    unanswered: tuple[int, ...] = ()
    holder: Holder | None = None
    agent: str = ""
    kube_proxies: tuple[Process, ...] = ()
    missing_tools: tuple[str, ...] = ()


class XdpFacts(msgspec.Struct, frozen=True):
    """Facts for mode xdp.

    `folder`: where maps are pinned; `bpffs`: it is in a bpffs; `cgroup2`: the mount point.

    `others`: foreign programs as ``INTERFACE: HOOK: program``; `native_veths`: veths with native XDP;
    `filling`: entries of a map of connections, and how many it has room for.
    """

    bpffs: bool = True
    folder: str = ""
    cgroup2: str = ""
    others: tuple[str, ...] = ()
    native_veths: tuple[str, ...] = ()
    filling: dict[str, tuple[int, int]] = {}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The input of `judge`. Without `root`, `rules` is empty.

    `flowtables`: what the kernel says where it has none.
    """

    root: bool = True
    netns: str = ""
    probes: tuple[ModeProbe, ...] = ()
    rules: RuleFacts = RuleFacts()
    node: NodeFacts = NodeFacts()
    modules: KernelModules = KernelModules()
    xdp: XdpFacts = XdpFacts()
    flowtables: str = ""


class ModeReport(msgspec.Struct, frozen=True):
    """One mode: whether it works here, for which IP versions, and if not, why.

    `lacks`: features that no Service can use.
    """

    mode: str
    status: Literal["supported", "unsupported", "unknown"]
    families: tuple[int, ...]
    why: str = ""
    lacks: tuple[str, ...] = ()


class Owner(msgspec.Struct, frozen=True):
    """A program whose rules answer Services on this node: ``kcompile run``, ``kcompile apply`` (rules that no
    process keeps), or ``kube-proxy``.

    `modes`: those of its rules; `state`: whether it runs, in words.
    """

    who: str
    modes: tuple[str, ...]
    state: str


class Finding(msgspec.Struct, frozen=True):
    """One check's result.

    `check`: its stable name; `fix`: the commands that fix it, in order; `mode`: empty for the whole node.
    """

    check: str
    severity: Severity
    message: str
    fix: tuple[str, ...] = ()
    mode: str = ""


class Report(msgspec.Struct, frozen=True):
    """`healthy`: at least one mode works and no finding is an error. `owners`: none without root."""

    healthy: bool
    modes: tuple[ModeReport, ...]
    owners: tuple[Owner, ...]
    findings: tuple[Finding, ...]
