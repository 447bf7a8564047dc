"""What the eBPF programs make of a packet, in the kernel, against what the specs promise it
(unit/iptables/expectations.py).
"""

from __future__ import annotations

import ctypes
import ipaddress
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.frames import address, frame, read
from harness import ebpf, modes, netns
from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Dataplane
from kcompile.kernel.bpf import library, programs, testrun
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.facts import links
from kcompile.program import diff
from kcompile.targets.xdp import XdpTarget
from unit.iptables.expectations import LOCAL, expected, packets, with_any_policies
from unit.iptables.walker import Outcome, Packet

pytestmark = pytest.mark.kernel
TARGET = XdpTarget()
INTERFACES = ("eth0", "cbr0", "veth12", "cbr01")
OWN = {4: "192.0.2.10", 6: "2001:db8:1::10"}
DROP = 2
seeds = st.integers(0, 2**32)


class Node:
    """A namespace with the interfaces and addresses that the packets of expectations.py are about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links = links()
        self.index = {name: index for index, name in socket.if_nameindex()}
        self.programs: dict[str, library.Fd] = {}
        self.port = 0

    def hold(self, dataplane: Dataplane) -> None:
        """Fill the maps; what was there goes, or is changed."""
        kernel = XdpKernel(self.folder / "run" / "node")
        wanted = {key: value for key, value in TARGET.lower(dataplane).items() if key.kind != "attach"}
        before = kernel.observe()
        kernel.apply(diff(before, wanted))
        if not before:
            self.programs = programs.load(programs.compile_file("tc.c"), kernel.maps())

    def run(self, packet: Packet) -> Outcome:
        """The first packet of a new connection through the program that meets it."""
        self.port = self.port % 60_000 + 1
        source, destination = f"[{packet.source}]:{1024 + self.port}", f"[{packet.destination}]:{packet.port}"
        version = ipaddress.ip_address(packet.source).version
        data = frame(
            f"{packet.protocol} {source} > {destination}{' S' if packet.protocol != 'udp' else ''}", version
        )
        context = bytearray(192)  # struct __sk_buff
        struct.pack_into("=I", context, 40, self.index[packet.interface or "eth0"])
        program = self.programs["ingress" if packet.interface else "egress"]
        verdict, after, _, _ = testrun.prog_test_run(program, data, context=bytes(context))
        if ctypes.c_int32(verdict).value == DROP:
            return Outcome("drop")
        kind, was, _, to, *_ = read(after).text.split()
        if kind == "unreachable":
            return Outcome("reject")
        (seen, _), (ip, port) = (_end(text, version) for text in (was, to))
        if (seen, ip, port) == (packet.source, packet.destination, packet.port):
            return Outcome("accept")
        assert seen in (packet.source, OWN[version])
        return Outcome("dnat", f"{ip}:{port}", seen == OWN[version])


def _end(text: str, version: int) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(address(name, version))), int(port)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("choice")
    with ExitStack() as stack:
        stack.enter_context(ebpf.bpffs(folder))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("KCOMPILE_BPF_DIR", str(folder / "bpf"))
        patch.setenv("KCOMPILE_RUN_DIR", str(folder / "run"))
        names = stack.enter_context(netns.group(["node", "far"]))
        lines = ["link set lo up"]
        for name in INTERFACES:
            lines += [
                f"link add {name} type veth peer name {name} netns {names['far']}",
                f"link set {name} up",
            ]
        own = sorted(
            (ip for ip in LOCAL if not ipaddress.ip_address(ip).is_loopback),
            key=lambda ip: ip not in OWN.values(),
        )
        lines += [
            f"addr add {ip}/128 dev eth0 nodad" if ":" in ip else f"addr add {ip}/32 dev eth0" for ip in own
        ]
        for gateway in ("169.254.1.1", "fe80::1"):
            lines.append(f"neigh add {gateway} lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
            lines.append(f"route add default via {gateway} dev eth0 onlink")
        netns.sysctl(names["node"], {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        netns.batch(lines, names["node"])
        netns.batch([f"link set {name} up" for name in INTERFACES], names["far"])
        stack.enter_context(netns.enter(names["node"]))
        yield Node(folder)


def check(node: Node, dataplane: Dataplane, rng: random.Random) -> None:
    facts = msgspec.structs.replace(dataplane.node, interfaces=tuple(sorted(LOCAL)), links=node.links)
    dataplane = msgspec.structs.replace(dataplane, node=facts)
    node.hold(dataplane)
    for packet in packets(rng, dataplane, 200) if dataplane.ports else ():
        if ipaddress.ip_address(packet.destination).is_loopback:
            continue
        allowed = expected(dataplane, packet)
        outcome = node.run(packet)
        assert any(_agree(outcome, one, packet) for one in allowed), (
            f"{packet}: {outcome}, not one of {allowed}"
        )


def _agree(outcome: Outcome, wanted: Outcome, packet: Packet) -> bool:
    if (outcome.verdict, outcome.backend) != (wanted.verdict, wanted.backend):
        return False
    # its source may be what masquerading puts already; and a pod that one Service doesn't know to be here may
    # hairpin by another
    unclear = packet.source in OWN.values() or outcome.backend.rpartition(":")[0] == packet.source
    return unclear or outcome.masquerade == wanted.masquerade


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds)
def test_packets_get_what_the_passes_decided(node: Node, seed: int):
    rng = random.Random(seed)
    check(node, random_dataplane(rng), rng)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds)
def test_packets_get_what_any_policy_says(node: Node, seed: int):
    rng = random.Random(seed)
    check(node, with_any_policies(rng, random_dataplane(rng)), rng)
