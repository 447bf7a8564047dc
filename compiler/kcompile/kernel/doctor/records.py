"""Facts as they were found, and the report that they come to."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "MODES",
    "Facts",
    "Finding",
    "ForwardChain",
    "Holder",
    "KernelModules",
    "KubeProxy",
    "Lack",
    "ModeProbe",
    "ModeReport",
    "NodeFacts",
    "Report",
    "RuleFacts",
    "Severity",
    "Variant",
    "XdpFacts",
]

MODES = ("nftables", "iptables-legacy", "iptables-nft", "ipvs", "xdp")
Severity = Literal["ok", "note", "warning", "error"]


class Lack(msgspec.Struct, frozen=True):
    """A feature that the kernel refused for IP `family`, with its words.

    `costs` is what can't work without; empty: the whole mode.
    """

    feature: str
    family: int
    message: str
    modules: tuple[str, ...] = ()
    costs: str = ""


class ModeProbe(msgspec.Struct, frozen=True):
    """What trying `mode` showed.

    `tool` is a file that is missing; `unknown` says why nothing could be tried.
    """

    mode: str
    lacks: tuple[Lack, ...] = ()
    tool: str = ""
    unknown: str = ""

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions in which everything that the mode can't do without is there."""
        if self.tool or self.unknown:
            return ()
        return tuple(f for f in (4, 6) if not any(lack.family == f and not lack.costs for lack in self.lacks))


class Variant(msgspec.Struct, frozen=True):
    """One iptables variant (``legacy``, ``nft``) in one family: how many rules, and whose.

    `foreign` leaves out kcompile's and those of Kubernetes; `chains` are the foreign ones, with their table.
    `forward` is the policy of FORWARD; `forwards_services`: a rule accepts there what was DNATed.
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
    """A base chain of nftables at hook forward with policy drop, of somebody else."""

    family: str
    table: str
    name: str
    forwards_services: bool = False


class RuleFacts(msgspec.Struct, frozen=True):
    """The rules and devices of the namespace.

    `changed`: how many of ours are not as the last apply left them.

    `unread`: what could not be read, and why.
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


class KubeProxy(msgspec.Struct, frozen=True):
    """A kube-proxy that runs in the namespace, and its control group (a path)."""

    pid: int
    cgroup: str = ""


class Holder(msgspec.Struct, frozen=True):
    """Who holds kcompile's lock: processes that share it, the first one's command line and age."""

    pids: tuple[int, ...]
    command: str
    seconds: int


class KernelModules(msgspec.Struct, frozen=True):
    """What could be loaded.

    `loadable`: the kernel takes modules at all; `locked`: not any more until reboot (modules_disabled);
    `folder`: /lib/modules has this release; `others`: it has other releases; `available`: names in there;
    `present`: loaded, built in.
    """

    release: str = ""
    loadable: bool = True
    locked: bool = False
    folder: bool = True
    others: bool = False
    available: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()


class NodeFacts(msgspec.Struct, frozen=True):
    """What isn't rules.

    `rp_filter`: interface -> value. `reverted`: sysctls that apply had changed and that are back at the old
    value.
    """

    sysctls: dict[str, str] = {}
    rp_filter: dict[str, int] = {}
    reverted: tuple[str, ...] = ()
    stale_state: str = ""
    unanswered: tuple[int, ...] = ()
    holder: Holder | None = None
    kube_proxies: tuple[KubeProxy, ...] = ()
    missing_tools: tuple[str, ...] = ()


class XdpFacts(msgspec.Struct, frozen=True):
    """What mode xdp meets.

    `folder`: where it would pin; `bpffs`: that is in one. `cgroup2`: where it is mounted.

    `others`: ``INTERFACE: HOOK: program`` of somebody else. `native_veths`: veths with native XDP.
    """

    bpffs: bool = True
    folder: str = ""
    cgroup2: str = ""
    others: tuple[str, ...] = ()
    native_veths: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `judge` looks at. Without `root` there are no rules."""

    root: bool = True
    netns: str = ""
    probes: tuple[ModeProbe, ...] = ()
    rules: RuleFacts = RuleFacts()
    node: NodeFacts = NodeFacts()
    modules: KernelModules = KernelModules()
    xdp: XdpFacts = XdpFacts()


class ModeReport(msgspec.Struct, frozen=True):
    """One mode: can it be applied here, in which families, and if not, why.

    `lacks` names what works for no Service.
    """

    mode: str
    status: Literal["supported", "unsupported", "unknown"]
    families: tuple[int, ...]
    why: str = ""
    lacks: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True):
    """One check's result.

    `check` is its stable name, `mend` the commands that put it right, in order; `mode` is empty for the node.
    """

    check: str
    severity: Severity
    message: str
    mend: tuple[str, ...] = ()
    mode: str = ""


class Report(msgspec.Struct, frozen=True):
    """`healthy`: at least one of the modes works, and no finding is an error."""

    healthy: bool
    modes: tuple[ModeReport, ...]
    findings: tuple[Finding, ...]
