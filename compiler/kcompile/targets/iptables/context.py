"""What the rules of one family share: spelling, detector of local pods, settings, fragments of rule text."""

from __future__ import annotations

from typing import NamedTuple

from ...ir.model import Dataplane, Family, Frontend, ResolvedPort, Verdict
from ...ir.node import DetectMode
from ..xtables.spelling import SPELLINGS
from .names import PORT_KEY_BITS, PROTOCOLS, chain, digest, port_key
from .policy import Condition
from .tree import Tree

__all__ = ["Chains", "Context", "Destination", "Leaf", "comment"]

Chains = dict[str, tuple[str, ...]]
# address as a number (0 in a tree without addresses), protocol and port as a key, rules
Leaf = tuple[int, int, tuple[str, ...]]
# The kernel allows 15 nested chains. Spent: 2 before the address tree, 3 after the port tree (EXT, SVC, SEP);
# so 6 + 4 levels for the trees.
ADDRESS_LEVELS = 6
PORT_LEVELS = 4


class Destination(NamedTuple):
    """A frontend's address and port as keys of a tree, and as matches."""

    address: int
    port: int
    destination: str
    ports: str


def comment(port: ResolvedPort, frontend: Frontend) -> str:
    """The comment match, which names the Service; ``kcompile get`` reads it back."""
    return f'-m comment --comment "{port.name} {frontend.kind.value}" '


class Context:
    """One family of one dataplane."""

    def __init__(self, dataplane: Dataplane, family: Family) -> None:
        self.dataplane = dataplane
        self.node = dataplane.node
        self.settings = dataplane.settings
        self.compat = dataplane.settings.compat
        self.spelling = SPELLINGS[family]
        self.has_pods = self.settings.detector.active(family.value)
        mark = self.settings.masquerade_mark
        self.mark = f"{mark:#x}/{mark:#x}"
        self.mark_on = f"-j MARK --set-xmark {self.mark}"
        self.mark_off = f"-j MARK --set-xmark 0x0/{mark:#x}"
        self.mark_flip = f"-j MARK --set-xmark {mark:#x}/0x0"
        self.verdicts = {
            Verdict.REJECT: self.spelling.reject,
            Verdict.DROP: "-j DROP",
            Verdict.PASS: "-j RETURN",
        }
        self.service_cidrs = [
            self.spelling.network(c) for c in self.settings.service_cidrs if self.spelling.contains(c)
        ]
        self._conditions: dict[Condition, tuple[str, str, str]] = {}

    def condition(self, condition: Condition) -> tuple[str, str, str]:
        """The source, interface and extension matches of `condition`, in the order in which a rule has room
        for them.
        """
        found = self._conditions.get(condition)
        if found is None:
            source, interface = self._pods(condition.pods)
            host = (
                ""
                if condition.host is None
                else f"-m addrtype {'' if condition.host else '! '}--src-type LOCAL "
            )
            found = self._conditions[condition] = (source, interface, host)
        return found

    def _pods(self, wanted: bool | None) -> tuple[str, str]:
        """Local pods (pkg/proxy/util/localdetector.go).

        A packet of the node itself has no input interface, so ``! -i`` holds.
        """
        if wanted is None:
            return "", ""
        no = "" if wanted else "! "
        detector = self.settings.detector
        if detector.interface:
            any_suffix = "+" if detector.mode is DetectMode.INTERFACE_NAME_PREFIX else ""
            return "", f"{no}-i {detector.interface}{any_suffix} "
        return f"{no}-s {self.spelling.network(detector.cidr(self.spelling.version))} ", ""

    def node_port_matches(self) -> list[str]:
        """One match for each way to reach a NodePort: any local address, or the node's chosen ones
        (nodePortAddresses).
        """
        spelling = self.spelling
        loopback = spelling.version == 4 and self.compat.localhost_node_ports
        addresses = self.node.node_ports(spelling.version)
        if addresses is None:
            return [f"{'' if loopback else f'! -d {spelling.loopback} '}-m addrtype --dst-type LOCAL "]
        return [
            f"-d {spelling.canonical(a)}{spelling.host} "
            for a in addresses
            if loopback or not spelling.is_loopback(a)
        ]

    def destination(self, port: ResolvedPort, frontend: Frontend) -> Destination:
        """The keys of `frontend` in a tree, and the matches for its packets."""
        spelling = self.spelling
        proto = port.protocol.lower
        ports = f"-p {proto} -m {proto} --dport {frontend.port} "
        key = port_key(proto, frontend.port)
        if not frontend.address:
            return Destination(0, key, "", ports)
        address = f"-d {spelling.canonical(frontend.address)}{spelling.host} "
        return Destination(spelling.number(frontend.address), key, address, ports)

    def ranges(self, frontend: Frontend) -> list[str]:
        """Source matches of a frontend's loadBalancerSourceRanges, of this family."""
        spelling = self.spelling
        return [f"-s {spelling.network(r)} " for r in frontend.source_ranges if spelling.contains(r)]

    def address_tree(self, label: str, flag: str = "-d", default: tuple[str, ...] = ()) -> Tree:
        """An empty tree over addresses that ``flag`` matches; its chains are called `label` and their
        prefix.
        """
        spelling = self.spelling
        bits = spelling.bits

        def spell(prefix: int, length: int) -> tuple[str, str]:
            network = f"{spelling.address(prefix)}/{length}"
            tail = f"{prefix:08x}-{length}" if bits == 32 else digest(network)
            return f"{flag} {network} ", chain(label, tail)

        return Tree(bits, spell, ADDRESS_LEVELS, default)

    def port_tree(self, label: str, address: str = "") -> Tree:
        """An empty tree over protocol and port, of all addresses or of one (with its prefix length)."""
        where = f"-d {address} " if address else ""

        def spell(prefix: int, length: int) -> tuple[str, str]:
            proto, low = PROTOCOLS[prefix >> 16], prefix & 0xFFFF
            high = low | (1 << (PORT_KEY_BITS - length)) - 1
            ports = str(low) if low == high else f"{low}:{high}"
            span = "" if length == 4 else f"-m {proto} --dport {ports} "
            tail = digest(f"{address}/{prefix}-{length}") if address else f"{proto}-{low}-{length}"
            return f"{where}-p {proto} {span}", chain(label, tail)

        return Tree(PORT_KEY_BITS, spell, PORT_LEVELS)
