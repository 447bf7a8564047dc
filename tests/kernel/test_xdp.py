"""Mode xdp on real packets: what must survive changes and re-applies, and what must not be mistaken for
something else.
"""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness import ebpf, modes, netns
from harness.topology import Topology
from harness.xdpnode import CLIENT, NODE, NODE_PORT, OUTSIDER, PODS, TARGET, VIP, Echo, Machine, ask
from kcompile.ir.model import Protocol
from kcompile.kernel.bpf import attach, hooks, library, pins
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.program import diff
from kcompile.targets.xdp import layout
from kcompile.targets.xdp.resources import AttachKey

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["tcp", "off"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        bpf = stack.enter_context(ebpf.bpffs(tmp_path))
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
        cgroup = stack.enter_context(ebpf.cgroup())
        topology = stack.enter_context(Topology([NODE], [CLIENT, *PODS]))
        netns.sysctl(topology.node, {"ipv4/conf/lo/accept_local": 1, "ipv4/conf/lo/rp_filter": 2})
        echo = Echo(topology, PODS)
        echo.start()
        made = Machine(topology, tmp_path, request.param, str(cgroup))
        try:
            yield made
        finally:
            echo.end()
            with netns.enter(topology.node):
                XdpKernel(tmp_path / "run" / "node").remove()
            assert ebpf.programs(topology.node) == []


def test_rolling_changes_break_no_connection_to_a_survivor(machine: Machine):
    """A hundred changes of endpoints, two of four pods always staying; connections from a pod, from the node
    and from outside.
    """
    rng = random.Random(1)
    survivors = PODS[:2]
    machine.apply(PODS)
    places = ((CLIENT, (VIP, 80)), (NODE, (VIP, 80)), (OUTSIDER, (NODE, NODE_PORT)))
    held: list[tuple[socket.socket, str]] = []
    for source, destination in places * 12:
        sock = machine.connect(source, destination)
        held.append((sock, ask(sock)))
    assert {pod for _, pod in held} == set(PODS)
    kept = [(sock, pod) for sock, pod in held if pod in survivors]
    for number in range(100):
        live = (*survivors, *rng.sample(PODS[2:], rng.randrange(3)))
        machine.apply(live)
        for sock, pod in rng.sample(kept, 6):
            assert ask(sock, f"change {number}") == pod
        source, destination = places[number % 3]
        with machine.connect(source, destination) as fresh:
            assert ask(fresh) in live
    for sock, pod in kept:
        assert ask(sock) == pod
    for sock, _ in held:
        sock.close()


def test_applying_again_breaks_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    """Twenty times, half of them with programs of another build: links get new programs, and stay. The first
    of those had fewer maps.
    """
    kernel = machine.apply(PODS)
    held = [machine.connect(CLIENT, (VIP, 80)) for _ in range(8)] + [
        machine.connect(OUTSIDER, (NODE, NODE_PORT)) for _ in range(8)
    ]
    pods = [ask(sock) for sock in held]
    with netns.enter(machine.topology.node):
        before = dict(attach.attached(kernel.links))
    for number in range(20):
        if number % 2:
            monkeypatch.setattr(hooks, "build", lambda n=number: f"build-{n}")
        if number == 1:
            for name in layout.ADDED:
                (kernel.folder / "maps" / name).unlink()
        machine.apply(PODS)
        assert [ask(sock, f"apply {number}") for sock in held] == pods
    with netns.enter(machine.topology.node):
        after = dict(attach.attached(kernel.links))
        assert len(list(kernel.hooks.programs.iterdir())) == 1
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    for sock in held:
        sock.close()


def test_maps_grow_under_open_connections(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    """Larger maps, and programs that use them, take the place of full ones; the maps of connections stay."""
    for name, spec in layout.MAPS.items():
        small = msgspec.structs.replace(spec, capacity=2) if name in ebpf.GROWING else spec
        monkeypatch.setitem(layout.MAPS, name, small)
    before = machine.apply(PODS[:1])
    sizes = {name: library.map_info(fd) for name, fd in before.maps().items()}
    held = [machine.connect(CLIENT, (VIP, 80)) for _ in range(8)] + [
        machine.connect(OUTSIDER, (NODE, NODE_PORT)) for _ in range(8)
    ]
    assert {ask(sock) for sock in held} == set(PODS[:1])
    after = machine.apply(PODS)
    grown = {name for name, fd in after.maps().items() if library.map_info(fd).id != sizes[name].id}
    assert {"slots", "backends", "counters"} <= grown <= ebpf.GROWING
    assert all(library.map_info(after.maps()[name]).max_entries > sizes[name].max_entries for name in grown)
    assert {ask(sock, "grown") for sock in held} == set(PODS[:1])
    fresh = [machine.connect(CLIENT, (VIP, 80)) for _ in range(40)]
    assert {ask(sock) for sock in fresh} == set(PODS)
    for sock in (*held, *fresh):
        sock.close()
    with netns.enter(machine.topology.node):
        again = XdpKernel(machine.folder / "run" / "node")
        assert again.observe() == TARGET.lower(machine.dataplane(PODS))


def test_a_map_of_connections_becomes_larger_under_them(machine: Machine):
    machine.apply(PODS)
    held = [machine.connect(CLIENT, (VIP, 80)) for _ in range(30)]
    pods = [ask(sock) for sock in held]
    wanted = TARGET.lower(machine.dataplane(PODS))
    sizes = {"flows4": 2 * layout.MAPS["flows4"].capacity, "brief4": 2 * layout.MAPS["brief4"].capacity}
    with netns.enter(machine.topology.node):
        kernel = XdpKernel(machine.folder / "run" / "node", sizes)
        changes = diff(kernel.observe(), wanted)
        assert {change.key.entry for change in changes} == set(sizes)
        assert kernel.apply(changes) == []
        assert {name: library.map_info(kernel.maps()[name]).max_entries for name in sizes} == sizes
        assert XdpKernel(machine.folder / "run" / "node", sizes).observe() == wanted
    assert [ask(sock, "larger") for sock in held] == pods
    with machine.connect(CLIENT, (VIP, 80)) as fresh:
        assert ask(fresh) in PODS
    for sock in held:
        sock.close()


def test_a_direct_connection_with_the_ports_of_a_translated_one(machine: Machine):
    """The same client port to the pod's own address: its packets and the answers are told apart from the
    Service's.
    """
    machine.apply(PODS[:1])
    for source, port in ((CLIENT, 40001), (OUTSIDER, 40002)):
        translated = machine.connect(
            source, (VIP if source == CLIENT else NODE, 80 if source == CLIENT else NODE_PORT), port=port
        )
        assert ask(translated, "one") == PODS[0]
        direct = machine.connect(source, (PODS[0], 8080), port=port)
        for word in ("two", "three"):
            assert ask(direct, word) == PODS[0]
            assert ask(translated, word) == PODS[0]
        direct.close()
        assert ask(translated, "four") == PODS[0]
        translated.close()


def test_udp_flows_leave_a_backend_that_is_gone(machine: Machine):
    machine.apply(PODS[:1], Protocol.UDP)
    clients = [
        machine.connect(CLIENT, (VIP, 80), socket.SOCK_DGRAM),
        machine.connect(OUTSIDER, (NODE, NODE_PORT), socket.SOCK_DGRAM),
    ]
    assert [ask(sock) for sock in clients] == [PODS[0], PODS[0]]
    machine.apply(PODS[:2], Protocol.UDP)
    assert [ask(sock) for sock in clients] == [PODS[0], PODS[0]]
    machine.apply(PODS[1:2], Protocol.UDP)
    assert [ask(sock) for sock in clients] == [PODS[1], PODS[1]]
    for sock in clients:
        sock.close()


@pytest.mark.parametrize("how", ["generic", "native"])
def test_xdp_before_tc(machine: Machine, how: str):
    """On the uplink too: packets for this node's pods are left to tc, and nothing is lost when XDP comes or
    goes.
    """
    machine.xdp = msgspec.structs.replace(machine.xdp, attach=how)
    with machine.connect(OUTSIDER, (PODS[0], 8080)) as before:
        kernel = machine.apply(PODS)
        assert ask(before) == PODS[0]
        with netns.enter(machine.topology.node):
            assert kernel.observe()[AttachKey("xdp", "eth0")] == how
        held = [machine.connect(OUTSIDER, (NODE, NODE_PORT)) for _ in range(4)]
        pods = [ask(sock) for sock in held]
        machine.xdp = msgspec.structs.replace(machine.xdp, attach="auto")
        machine.apply(PODS)
        assert [ask(sock) for sock in held] == pods
        assert ask(before) == PODS[0]
        with netns.enter(machine.topology.node):
            assert AttachKey("xdp", "eth0") not in kernel.observe()
        for sock in held:
            sock.close()


def test_filters_of_clsact_where_there_is_no_tcx(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    """Kernels before 6.6: seen, kept, replaced and removed like links."""
    monkeypatch.setattr(attach, "has_tcx", lambda: False)
    kernel = machine.apply(PODS)
    with machine.connect(CLIENT, (VIP, 80)) as sock:
        pod = ask(sock)
        with netns.enter(machine.topology.node):
            assert kernel.observe() == TARGET.lower(machine.dataplane(PODS))
            assert not [
                path for path in pins.pins(kernel.links) if path.name.startswith(("ingress", "egress"))
            ]
        monkeypatch.setattr(hooks, "build", lambda: "another")
        machine.apply(PODS)
        assert ask(sock) == pod
    with netns.enter(machine.topology.node):
        theirs = attach.Attachment("egress", socket.if_nametoindex("pod0"))
        with monkeypatch.context() as foreign:
            foreign.setattr(attach, "_PRIORITY", 7)
            attach.attach(kernel.links, theirs, pins.open_pin(kernel.hooks.programs / "another" / "egress"))
        kernel.remove()
        left = subprocess.run(
            ["tc", "filter", "show", "dev", "pod0", "ingress"], capture_output=True, text=True, check=True
        ).stdout
        assert "bpf" not in left
        queues = subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout
        assert [line.split()[4] for line in queues.splitlines() if "clsact" in line] == ["pod0"], (
            "what others have stays"
        )
        subprocess.run(["tc", "qdisc", "del", "dev", "pod0", "clsact"], check=True)


def test_attachments_that_are_wrong_are_put_right(machine: Machine):
    """A link that somebody detached, an interface that is new, one that is gone: the next apply sees and
    mends it.
    """
    kernel = machine.apply(PODS)
    topology = machine.topology
    netns.batch(["link add extra type veth peer name extra-peer", "link set extra up"], topology.node)
    with netns.enter(topology.node):
        found = {key: value for key, value in kernel.observe().items() if key.kind == "attach"}
        attach.detach(kernel.links, attach.Attachment("ingress", socket.if_nametoindex("pod0")))
        lost = kernel.observe()
    assert AttachKey("ingress", "pod0") in found
    assert AttachKey("ingress", "pod0") not in lost
    machine.apply(PODS)
    with netns.enter(topology.node):
        mended = kernel.observe()
    assert {
        AttachKey("ingress", "pod0"),
        AttachKey("ingress", "extra"),
        AttachKey("egress", "extra-peer"),
    } <= set(mended)
    with machine.connect(CLIENT, (VIP, 80)) as sock:
        assert ask(sock) in PODS
    netns.batch(["link del extra"], topology.node)
    machine.apply(PODS)
    with netns.enter(topology.node):
        assert kernel.observe() == TARGET.lower(machine.dataplane(PODS))
