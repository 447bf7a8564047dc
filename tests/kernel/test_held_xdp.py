"""Mode xdp held open: a node's history is followed entry by entry; what others change is seen."""

import random
import socket

import msgspec
import pytest

from harness import ebpf, modes, netns
from harness.random_dataplanes import random_dataplane, random_history
from harness.topology import Topology
from harness.xdpnode import CLIENT, NODE, PODS, VIP, Echo, Machine, ask
from kcompile.engine.session import differing
from kcompile.ir.model import Protocol
from kcompile.ir.node import Xdp
from kcompile.kernel import facts
from kcompile.kernel.bpf import library
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.drivers import XdpDriver
from kcompile.kernel.held import hold
from kcompile.modes import MODES
from kcompile.targets.xdp import layout

pytestmark = pytest.mark.kernel
XDP = MODES["xdp"]
TARGET = XDP.target()
BARE = Xdp(sockets="off")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A namespace with a bpffs; yields the node's run directory."""
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with ebpf.bpffs(tmp_path) as bpf, netns.group(["held"]) as names, netns.enter(names["held"]):
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        yield tmp_path / "run" / "node"


class Agent:
    """Follows dataplanes as an agent does."""

    def __init__(self, dataplane, place):
        self.now, self.place, self.kept = dataplane, place, XDP.follow(dataplane)
        self.sync()
        self.held = hold(XdpDriver(place))

    def sync(self):
        """What another process does: it reads everything, and writes what is missing."""
        driver = XdpDriver(self.place)
        changes = TARGET.diff(driver.observe(), self.kept.program)
        assert driver.apply(changes) == []
        return changes

    def become(self, dataplane):
        gone, come = differing(self.now, dataplane)
        self.now = dataplane
        assert self.held.apply(self.kept.replace(gone.ports, come.ports)) == []

    def observed(self):
        return XdpKernel(self.place).observe()

    def maps(self):
        kernel = XdpKernel(self.place)
        kernel.observe()
        return kernel.maps()


@pytest.mark.parametrize("seed", range(12))
def test_each_step_of_a_history_is_taken(place, seed, monkeypatch):
    if seed % 2:
        monkeypatch.setattr("kcompile.kernel.bpf.compare._AT_ONCE", 1)
    history = random_history(random.Random(seed))
    agent = Agent(next(history), place)
    for dataplane in history:
        agent.become(dataplane)
        assert agent.observed() == agent.kept.program
        assert not agent.held.differs(agent.kept.program)
    assert not agent.held.housekeep(agent.kept.program)
    agent.held.close()


def test_maps_that_grow_are_followed(place, monkeypatch):
    for name in ebpf.GROWING:
        monkeypatch.setitem(layout.MAPS, name, msgspec.structs.replace(layout.MAPS[name], capacity=2))
    rng = random.Random(3)
    agent = Agent(random_dataplane(rng, 3), place)
    assert not agent.held.differs(agent.kept.program)
    now = agent.now
    more = msgspec.structs.replace(random_dataplane(rng, 60), node=now.node, settings=now.settings)
    agent.become(more)
    assert agent.held._kernel.generation == 1
    assert agent.observed() == agent.kept.program
    assert not agent.held.differs(agent.kept.program)
    delete_one("frontends4")(agent.maps())
    assert agent.held.differs(agent.kept.program)


def entries_of(maps, name):
    return [
        (keys[: fd.key_size], values[: fd.value_size])
        for fd in [library.map_info(maps[name])]
        for keys, values, _ in library.lookup_batch(maps[name])
    ]


def delete_one(name):
    return lambda maps: library.delete(maps[name], entries_of(maps, name)[0][0])


def change_one(name):
    def change(maps):
        key, value = entries_of(maps, name)[0]
        library.update(maps[name], key, bytes([value[0] ^ 1]) + value[1:])

    return change


def change_array(name, offset):
    """The first entry in use of an array, one byte of it."""

    def change(maps):
        size = layout.MAPS[name].value.size
        memory = library.map_bytes(maps[name])
        at = next(at for at in range(0, len(memory), size) if any(memory[at : at + size]))
        memory[at + offset] ^= 1

    return change


def change_slot(maps):
    """The first slot of the first table."""
    tables = layout.POOL.iter_unpack(library.map_bytes(maps["pools"]))
    at = 8 * next(first for first, size in tables if size)  # the kernel gives each entry 8 bytes
    library.map_bytes(maps["slots"])[at : at + 4] = b"\xff\xff\xff\x7f"


FOREIGN = {
    "a frontend gone": delete_one("frontends4"),
    "a frontend changed": change_one("frontends6"),
    "a frontend more": lambda maps: library.update(maps["frontends4"], bytes(8), bytes(16)),
    "a name gone": delete_one("names"),
    "a name changed": change_one("names"),
    "a local address gone": delete_one("locals4"),
    "the config": change_one("config"),
    "a pool": change_array("pools", 0),
    "a backend's address": change_array("backends", 0),
    "a backend's flags": change_array("backends", 19),
    "a slot": change_slot,
}


def test_what_others_change_is_seen(place):
    history = random_history(random.Random(4))
    agent = Agent(next(history), place)
    for what, change in FOREIGN.items():
        assert not agent.held.differs(agent.kept.program), what
        kernel = XdpKernel(place)
        kernel.observe()
        change(kernel.maps())
        assert agent.held.differs(agent.kept.program), what
        agent.sync()
        agent.held.close()
        agent.held = hold(XdpDriver(place))


def test_an_interface_that_comes_later_gets_its_programs_and_moved_flows_go(tmp_path, monkeypatch):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with ebpf.bpffs(tmp_path) as bpf, Topology([NODE], [CLIENT, *PODS]) as topology:
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        machine = Machine(topology, tmp_path, "off", "")
        echo = Echo(topology, PODS)
        echo.start()
        with netns.enter(topology.node):
            agent = Agent(machine.dataplane(PODS[:1], Protocol.UDP), tmp_path / "run" / "node")
        client = machine.connect(CLIENT, (VIP, 80), socket.SOCK_DGRAM)
        assert ask(client) == PODS[0]
        with netns.enter(topology.node):
            agent.become(machine.dataplane(PODS[1:2], Protocol.UDP))
        assert ask(client) == PODS[1], "its flow was to a removed endpoint"
        netns.run(topology.node, ["ip", "link", "add", "later", "type", "veth", "peer", "name", "other"])
        with netns.enter(topology.node):
            later = XDP.follow(msgspec.structs.replace(agent.now, node=machine.dataplane(()).node))
            assert agent.held.apply(TARGET.diff(agent.kept.program, later.program)) == []
            assert agent.observed() == later.program
            assert not agent.held.differs(later.program)
            assert {link.name for link in facts.links()} >= {"later", "other"}
            kernel = XdpKernel(tmp_path / "run" / "node")
            attached = {key.name for key in kernel.attachments()}
            assert {"later", "other"} <= attached
            netns.run(topology.node, ["ip", "link", "del", "later"])
            assert agent.held.differs(later.program)
            kernel.observe()
            kernel.remove()
        client.close()
        echo.end()
