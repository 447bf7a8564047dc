"""Mode ipvs held open: a node's history is followed message by message, open connections drain, what others
change is seen, and a kill halfway harms nobody.
"""

import os
import random
import shlex
import signal
import socket
import sys
from functools import partial

import pytest

from harness import modes, netns
from harness.random_dataplanes import random_history
from harness.topology import Topology
from kcompile.engine.session import differing
from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, NodeFacts, Settings
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.held import hold
from kcompile.kernel.ipvs import dummy, read
from kcompile.kernel.ipvs.drain import Deadlines
from kcompile.modes import MODES
from kcompile.passes import resolve
from kcompile.targets.ipvs.resources import VirtualServerKey

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
IPVS = MODES["ipvs"]
TARGET = IPVS.target()
NODE, CLIENT, PODS = "192.0.2.10", "10.244.0.5", ("10.244.0.21", "10.244.0.22")
FACTS = NodeFacts(name="node-a", addresses=(NODE,), interfaces=(NODE,))
SETTINGS = Settings(compat=Compat.of("nftables"), service_cidrs=("10.96.0.0/12",))
KILLS = 8
ALWAYS, COMING = [f"10.96.0.{i}" for i in range(1, 5)], ["10.96.0.5"]


@pytest.fixture
def here():
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    with netns.group(["held"]) as names, netns.enter(names["held"]):
        netns.run(names["held"], ["ip", "link", "set", "lo", "up"])
        yield names["held"]


def cluster(*pods, services=1, port=8080):
    """Services whose endpoints are `pods`, on node-a."""
    endpoints = tuple(Endpoint(ip, port, "node-a") for ip in pods)
    fields = {"family": Family.IPV4, "protocol": Protocol.TCP, "port": 80, "endpoints": endpoints}
    ports = [
        ServicePort(name=f"demo/web-{i}:http", cluster_ip=f"10.96.0.{i + 1}", **fields)
        for i in range(services)
    ]
    return resolve(ports, FACTS, SETTINGS)


class Agent:
    """Follows dataplanes as an agent does."""

    def __init__(self, dataplane, folder):
        self.now, self.driver, self.kept = (
            dataplane,
            driver_for("ipvs", "legacy", folder),
            IPVS.follow(dataplane),
        )
        self.sync()
        self.held = hold(self.driver)

    def sync(self):
        """Reads everything, and writes what is missing."""
        changes = TARGET.diff(self.driver.observe(), self.kept.program)
        self.driver.apply(changes)
        return changes

    def become(self, dataplane):
        gone, come = differing(self.now, dataplane)
        self.now = dataplane
        return self.held.apply(self.kept.replace(gone.ports, come.ports))

    def servers(self):
        """The weights of the first Service's real servers, by address."""
        key = VirtualServerKey(4, "tcp", "10.96.0.1", 80)
        return {key.ip: server.weight for key, server in read.real_servers([key]).items()}

    def is_true(self):
        return self.driver.observe() == self.kept.program and not self.held.differs(self.kept.program)


def test_each_step_of_a_history_is_taken(here, tmp_path):
    assert here
    history = random_history(random.Random(1), services=6, steps=7)
    agent = Agent(next(history), tmp_path)
    for dataplane in history:
        assert agent.become(dataplane) == []
        assert agent.is_true()
        assert not agent.held.housekeep(agent.kept.program)
    agent.held.close()


def test_open_connections_drain_until_they_end(tmp_path):
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    one, two = PODS
    with Topology([NODE], [CLIENT, *PODS]) as topology:
        listeners = []
        for pod in PODS:
            with netns.enter(topology.home(pod)):
                listeners.append(socket.create_server((pod, 8080)))
        with netns.enter(topology.home(CLIENT)):
            client = socket.socket()
            client.settimeout(5)
        with netns.enter(topology.node):
            agent = Agent(cluster(one, two), tmp_path / "run")
            agent.become(cluster(one))
            client.connect(("10.96.0.1", 80))
            server, _ = listeners[0].accept()
            agent.become(cluster(two))
            assert agent.servers() == {one: 0, two: 1}
            assert agent.held.housekeep(agent.kept.program), "the connection is open"
            assert not agent.held.differs(agent.kept.program), "what drains is no drift"
            agent.become(cluster(one, two))
            assert agent.servers() == {one: 1, two: 1}, "it is back, and drains no more"
            assert agent.is_true()
            agent.become(cluster(two))
            agent.become(cluster(services=0))
            assert agent.servers() == {one: 0}, "with its virtual server, though no Service has that"
            agent.held.close()
            agent.held = hold(agent.driver)
            agent.become(cluster(two))
            assert agent.servers() == {one: 0, two: 1}, "an agent that starts again knows what drains"
            agent.become(cluster(services=0))
            assert not agent.held.differs(agent.kept.program)
            client.sendall(b"still here")
            assert server.recv(64) == b"still here"
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.close()
            read_only = agent.kept.program
            while any(
                s.connections
                for s in read.real_servers([VirtualServerKey(4, "tcp", "10.96.0.1", 80)]).values()
            ):
                netns.run(topology.node, ["ipvsadm", "--set", "1", "1", "1"])
            assert not agent.held.housekeep(read_only)
            assert agent.is_true()
            assert not Deadlines(tmp_path / "run").draining
            agent.held.close()
        for listener in listeners:
            listener.close()


FOREIGN = (
    "ip address del 10.96.0.2/32 dev kcompile-ipvs0",
    "ip address add 10.9.9.9/32 dev kcompile-ipvs0",
    "ip link set kcompile-ipvs0 down",
    "ip link del kcompile-ipvs0",
    "ipvsadm -d -t 10.96.0.2:80 -r 10.244.0.21:8080",
    "ipvsadm -e -t 10.96.0.2:80 -r 10.244.0.21:8080 -m -w 7",
    "ipvsadm -a -t 10.96.0.2:80 -r 10.9.9.9:8080 -m",
    "ipvsadm -E -t 10.96.0.2:80 -s wlc",
    "ipvsadm -D -t 10.96.0.2:80",
    "ipvsadm -A -t 10.96.0.2:81 -s rr",
    "ipvsadm -C",
    "ipset del KCOMPILE-4-FRONTENDS 10.96.0.2,tcp:80",
    "ipset flush KCOMPILE-4-VIPS",
    "iptables-legacy -I KCOMPILE-IPVS-INPUT -s 10.9.9.9 -j RETURN",
    "iptables-legacy -t nat -F",
)


def test_what_others_change_is_seen(here, tmp_path):
    agent = Agent(cluster(*PODS, services=3), tmp_path)
    netns.run(here, ["ipvsadm", "-A", "-t", "192.0.2.99:80", "-s", "rr"])
    assert agent.is_true() or not agent.held.differs(agent.kept.program), "another's is nobody's drift"
    for command in FOREIGN:
        assert not agent.held.differs(agent.kept.program)
        netns.run(here, shlex.split(command))
        assert agent.held.differs(agent.kept.program), command
        assert agent.sync(), command
    agent.held.close()


def killed_at(step, work):
    """Do `work` in a child that is killed at its call number `step` of a C function (0: never).

    Returns how many there were, 0 of a killed one.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def called(_frame, event, _function):
            nonlocal count
            if event == "c_call":
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(called)
        work()
        sys.setprofile(None)
        os.write(writer, str(count).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(child, 0)
    return int(text or 0)


def test_a_kill_halfway_leaves_every_vip_served_and_is_repaired(here, tmp_path):
    assert here
    rng = random.Random(5)
    goals = (cluster(*PODS, services=4), cluster(PODS[1], services=5, port=9090))
    agent = Agent(goals[0], tmp_path)
    programs = [TARGET.lower(goal) for goal in goals]
    total, now, halfway = 400, 0, 0
    for number in range(KILLS + 1):
        goal, before = goals[1 - now], goals[now]
        kept, (gone, come) = IPVS.follow(before), differing(before, goal)
        changes = kept.replace(gone.ports, come.ports)
        count = killed_at(number and rng.randint(1, total), partial(agent.held.apply, changes))
        total = count or total
        bound = {key.address for key in dummy.observe() if key.kind == "address"}
        servers = read.real_servers([VirtualServerKey(4, "tcp", address, 80) for address in bound])
        served = {key.address for key, server in servers.items() if server.weight}
        assert set(ALWAYS) <= bound
        assert bound - served <= (set(COMING) if len(goal.ports) < len(before.ports) else set())
        halfway += agent.driver.observe() not in programs
        agent.kept, now = kept, 1 - now
        agent.sync()
        assert agent.is_true()
    assert halfway > 2
    agent.held.close()
