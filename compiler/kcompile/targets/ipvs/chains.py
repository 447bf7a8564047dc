"""The iptables rules: their number depends on the node's settings, never on how many Services there are.

    mangle  PREROUTING, OUTPUT -> SERVICES -> VIPS or NODEPORTS: source ranges, DROP, marks (new connections)
    nat     POSTROUTING        -> POSTROUTING [-> MARKED]: masquerading
            PREROUTING, OUTPUT -> STICKY: see sticky.py
    filter  INPUT              -> INPUT: REJECT, before IPVS (LOCAL_IN, NF_IP_PRI_NAT_SRC - 1: ip_vs_core.c)
            FORWARD, OUTPUT    -> FORWARD, OUTPUT: unallocated addresses

In LOCAL_OUT IPVS comes after nat and before filter, so mangle drops what IPVS must not see of the host's
packets. What IPVS sends on passes LOCAL_OUT again and then POSTROUTING, from the client to the backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...ir.model import Dataplane, Family
from ...ir.node import DetectMode
from ..xtables.spelling import SPELLINGS
from .marks import EVERYBODY, HOST, OURS, OURS_MASK
from .resources import set_name

__all__ = ["Chains", "FamilyRules", "PREFIX", "STICKY_NODE_PORTS", "STICKY_VIPS"]

PREFIX = "KCOMPILE-IPVS-"
STICKY_VIPS, STICKY_NODE_PORTS = PREFIX + "STICKY-VIPS", PREFIX + "STICKY-NP"
_SERVICES, _VIPS, _NODE_PORTS = PREFIX + "SERVICES", PREFIX + "VIPS", PREFIX + "NODEPORTS"
_INSIDE, _NP_INSIDE = PREFIX + "INSIDE", PREFIX + "NP-INSIDE"
_POSTROUTING, _MARKED, _MASQUERADE = PREFIX + "POSTROUTING", PREFIX + "MARKED", PREFIX + "MASQUERADE"
_STICKY = PREFIX + "STICKY"
_INPUT, _FORWARD, _OUTPUT = PREFIX + "INPUT", PREFIX + "FORWARD", PREFIX + "OUTPUT"
_NEW = "-m conntrack --ctstate NEW "
_MASQUERADES = "-j MASQUERADE --random-fully"
_FORGET = "-j MARK --set-xmark 0x0/0xffffffff"
_HOST = "-m addrtype --src-type LOCAL "

Chains = dict[tuple[str, str], tuple[str, ...]]  # (table, name) -> rules

_HOOKS = (
    ("mangle", "PREROUTING", _SERVICES, _NEW, "services"),
    ("mangle", "OUTPUT", _SERVICES, _NEW, "services"),
    ("nat", "PREROUTING", _STICKY, "", "session affinity"),
    ("nat", "OUTPUT", _STICKY, "", "session affinity"),
    ("nat", "POSTROUTING", _POSTROUTING, "", "masquerading"),
    ("filter", "INPUT", _INPUT, _NEW, "to this node"),
    ("filter", "FORWARD", _FORWARD, "", "through this node"),
    ("filter", "OUTPUT", _OUTPUT, _NEW, "from this node"),
)


class FamilyRules:
    """The rules of one family, and the matches that sticky.py shares."""

    def __init__(self, dataplane: Dataplane, family: Family) -> None:
        self.spelling = SPELLINGS[family]
        self.settings = dataplane.settings
        self.version = family.value
        self.has_pods = dataplane.settings.detector.active(self.version)
        self.node_ips = dataplane.node.node_ports(self.version)
        bit = dataplane.settings.masquerade_mark
        self._mark_on = f"-j MARK --set-xmark {bit:#x}/{bit:#x}"
        self._mark_flip = f"-j MARK --set-xmark {bit:#x}/0x0"
        self._marked = f"--mark {bit:#x}/{bit:#x} "

    def within(self, name: str, directions: str = "dst,dst", negate: str = "") -> str:
        """A match on one of our sets."""
        return f"-m set {negate}--match-set {set_name(self.version, name)} {directions} "

    def pods(self, negate: str = "") -> str:
        """A match on local pods (pkg/proxy/util/localdetector.go)."""
        detector = self.settings.detector
        if detector.interface:
            any_suffix = "+" if detector.mode is DetectMode.INTERFACE_NAME_PREFIX else ""
            return f"{negate}-i {detector.interface}{any_suffix} "
        return f"{negate}-s {self.spelling.network(detector.cidr(self.version))} "

    def to_node_ports(self, ports: str = "") -> str:
        """A match on the addresses that NodePorts answer on; `ports` stands where iptables-save has it.

        A VIP isn't one of them.
        """
        if self.node_ips is not None:
            return ports + self.within("NODE-IPS", "dst")
        no_vip = self.within("VIPS", "dst", "! ")
        return f"! -d {self.spelling.loopback} {ports}{no_vip}-m addrtype --dst-type LOCAL "

    def build(
        self, sticky_vips: Sequence[str], sticky_node_ports: Sequence[str]
    ) -> tuple[Chains, Iterator[tuple[str, str, str]]]:
        """The chains, and the jumps to them: table, hook, rule."""
        chains: Chains = {}
        for table, made in (
            ("mangle", self._mangle()),
            ("nat", self._nat(sticky_vips, sticky_node_ports)),
            ("filter", self._filter()),
        ):
            chains |= {(table, name): tuple(rules) for name, rules in made.items() if rules}
        jumps = (
            (table, hook, f'{match}-m comment --comment "kcompile: {why}" -j {name}')
            for table, hook, name, match, why in _HOOKS
            if (table, name) in chains
        )
        return chains, jumps

    def _mangle(self) -> dict[str, list[str]]:
        return {
            _SERVICES: [
                f"{self.within('FRONTENDS')}-g {_VIPS}",
                f"{self.to_node_ports()}{self.within('NODEPORTS')}-g {_NODE_PORTS}",
            ],
            _VIPS: [
                f"{self.within('GUARDED')}{self.within('RANGES', 'dst,dst,src', '! ')}-j DROP",
                *self._insiders("INSIDE", _INSIDE),
                f"{self.within('DROP')}-j DROP",
                f"{self.within('MASQUERADE')}{self._mark_on}",
                *([f"{self.pods('! ')}{self.within('OUTSIDE')}{self._mark_on}"] if self.has_pods else []),
                # the host's own connection to a VIP has that VIP for its source, unless it chose another
                f"{self.within('VIPS', 'src')}{self._mark_on}",
            ],
            _NODE_PORTS: [
                *self._insiders("NP-INSIDE", _NP_INSIDE),
                f"{self.within('NP-DROP')}-j DROP",
                f"{self.within('NP-MASQUERADE')}{self._mark_on}",
                f"-j SET --map-set {set_name(self.version, 'NODEPORTS')} dst,dst --map-mark",
            ],
            _INSIDE: [f"-j SET --map-set {set_name(self.version, 'INSIDE')} dst,dst --map-mark"],
            _NP_INSIDE: [f"-j SET --map-set {set_name(self.version, 'NP-INSIDE')} dst,dst --map-mark"],
        }

    def _insiders(self, name: str, chain: str) -> list[str]:
        """Local pods, then the host (masqueraded), leave for their own pool."""
        pods = [f"{self.pods()}{self.within(name)}-g {chain}"] if self.has_pods else []
        return [*pods, f"{_HOST}{self.within(name)}{self._mark_on}", f"{_HOST}{self.within(name)}-g {chain}"]

    def _nat(self, sticky_vips: Sequence[str], sticky_node_ports: Sequence[str]) -> dict[str, list[str]]:
        loop = f"{self.within('LOOP', 'dst,dst,src')}{_MASQUERADES}"
        # a pod's address on the host (a bridge's) counts as a pod, as on the way in
        pods = self.pods("! ") if self.has_pods and not self.settings.detector.interface else ""
        sticky = [f"{self.within('STICKY')}-g {STICKY_VIPS}"] if sticky_vips else []
        if sticky_node_ports:
            sticky.append(f"{self.to_node_ports()}{self.within('NODEPORTS')}-g {STICKY_NODE_PORTS}")
        return {
            _STICKY: sticky,
            STICKY_VIPS: list(sticky_vips),
            STICKY_NODE_PORTS: list(sticky_node_ports),
            _POSTROUTING: [
                f"-m mark --mark {OURS:#x}/{OURS_MASK:#x} -g {_MARKED}",
                loop,
                f"-m mark ! {self._marked}-j RETURN",
                self._mark_flip,
                _MASQUERADES,
            ],
            _MARKED: [
                f"-m mark --mark {EVERYBODY:#x}/{EVERYBODY:#x} -g {_MASQUERADE}",
                f"{pods}-m mark --mark {HOST:#x}/{HOST:#x} {_HOST}-g {_MASQUERADE}",
                _FORGET,
                loop,
            ],
            _MASQUERADE: [_FORGET, _MASQUERADES],
        }

    def _filter(self) -> dict[str, list[str]]:
        reject = self.spelling.reject
        cidrs = [self.spelling.network(c) for c in self.settings.service_cidrs if self.spelling.contains(c)]
        if not self.settings.compat.drop_unallocated:
            cidrs = []
        return {
            _INPUT: [
                f"{self.within('REJECT')}{reject}",
                f"{self.within('FRONTENDS')}-j RETURN",
                f"{self.to_node_ports()}{self.within('NP-REJECT')}{reject}",
                # a VIP is an address of the node now: no other service of the node may answer on it
                # (KUBE-IPVS-FILTER)
                f"{self.within('VIPS', 'dst')}-m conntrack ! --ctstate DNAT {reject}",
            ],
            _FORWARD: [
                *(f"-d {cidr} {_NEW}-j DROP" for cidr in cidrs),
                f"-m mark {self._marked}-j ACCEPT",
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            ],
            _OUTPUT: [f"-d {cidr} {self.within('VIPS', 'dst', '! ')}-j DROP" for cidr in cidrs],
        }
