"""The agent killed at counted steps and started again, and its rules removed by hand: packets pass."""

import signal

import pytest

from harness import steps
from harness.agentprocess import QUIET
from harness.agents import Running
from harness.byhand import removals
from harness.conversations import Conversation, Servers
from harness.loop import Loop
from harness.modes import missing
from harness.objects import node, service, slice_of
from harness.onenode import Node, text
from harness.topology import Topology

pytestmark = pytest.mark.kernel

NODE, CLIENT = "192.0.2.10", "203.0.113.7"
PODS = ("10.244.0.5", "10.244.0.6")
VIP = "10.96.0.1"
MODES = ("nftables", "iptables-legacy", "iptables-nft", "xdp", "ipvs")
KILLS = 2


class Place:
    """A node with two Pods that answer, and a client outside."""

    def __init__(self, topology, loop):
        self.topology, self.loop, self.name = topology, loop, topology.node
        servers = Servers(loop)
        for ip in PODS:
            servers.open(topology.home(ip), ip, 8080, "TCP")

    def flow(self, to):
        flow = Conversation(self.loop, self.topology.home(CLIENT), CLIENT, to, 80, "TCP", 0)
        flow.start()
        return flow

    def asked(self, to):
        """Who answers a new connection."""
        flow = self.flow(to)
        answer = flow.opened(2.0)
        flow.close()
        return answer


@pytest.fixture(params=MODES)
def mode(request):
    if reason := missing(request.param):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def place():
    with Topology((NODE,), PODS) as topology, Loop() as loop:
        yield Place(topology, loop)


def objects(turn):
    """Service 0 is the same in every turn; the Pods of the others change, and one of them comes or goes."""
    yield node("node-a", NODE)
    for number in range(8 + turn % 2):
        name = f"web-{number}"
        yield service(name, f"10.96.0.{number + 1}")
        yield slice_of(name, PODS[(number * turn) % 2])


def plain(item):
    versions = {"Service": "v1", "EndpointSlice": "discovery.k8s.io/v1", "Node": "v1"}
    kind = type(item).__name__
    return {"apiVersion": versions[kind], "kind": kind, **item.fields()}


@pytest.mark.parametrize("mode", ["iptables-legacy", "xdp"], indirect=True)
def test_killed_at_any_step_it_loses_nothing_and_the_next_one_goes_on(place, tmp_path, mode):
    home = Node(place.name, tmp_path)
    specs = tmp_path / "specs"
    specs.mkdir()
    arguments = ["run", *QUIET, "-f", "specs", "--mode", mode, *home.options]

    def run(step, turn):
        """An agent that finds other manifests; killed at `step`, or told to end after its first sync."""
        (tmp_path / "new").write_text(text(*map(plain, objects(turn))))
        (tmp_path / "new").rename(specs / "all.json")
        with steps.start("agent", step, tmp_path / "steps", arguments, home.env, cwd=tmp_path) as agent:
            for line in agent.stdout:
                if " synced " in line:
                    agent.send_signal(signal.SIGTERM)
            return agent.wait()

    assert run(0, 0) == 0
    count = int((tmp_path / "steps").read_text())
    held = place.flow(VIP)
    assert held.opened() == f"{PODS[0]}:8080"
    for turn in range(1, KILLS + 1):
        assert run(count * turn // (KILLS + 1), turn) == -signal.SIGKILL
        assert (place.asked(VIP), held.ask()) == (f"{PODS[0]}:8080",) * 2
    assert run(0, KILLS + 1) == 0
    assert [place.asked(f"10.96.0.{number + 1}") for number in range(9)] == [
        f"{PODS[number % 2]}:8080" for number in range(9)
    ]
    held.close()
    assert "No changes" in home.run("plan", "-f", "specs").stdout


def test_rules_removed_by_hand_come_back(place, tmp_path, mode):
    with Running(place.name, mode, tmp_path, objects(1), sync_period=0.5) as agent:
        ways = list(removals(mode, place.name).values())
        for at_once in [ways] if mode == "ipvs" else [[way] for way in ways]:  # its machine is slow
            drifts = agent.record.counts.drifts
            for remove in at_once:
                remove()
            agent.wait(lambda drifts=drifts: agent.record.counts.drifts > drifts)
            agent.settled()
            assert place.asked(VIP) == f"{PODS[0]}:8080", agent.lines
