"""The agent in a real namespace: what it is told reaches the kernel, and packets with it."""

import contextlib
import re
import socket

import pytest

from harness import netns
from harness.agents import Running
from harness.conversations import Conversation, Servers
from harness.loop import Loop
from harness.modes import missing
from harness.objects import node, service, slice_of
from harness.topology import Topology
from kcompile.errors import LockedError
from kcompile.kernel.generation import generation

pytestmark = pytest.mark.kernel

VIP, OTHER = "10.96.0.1", "10.96.0.2"
PODS = ("10.244.0.5", "10.244.0.6")
NODE, CLIENT = "192.0.2.10", "203.0.113.7"
MODES = [
    "nftables",
    "iptables-legacy",
    "iptables-nft",
    pytest.param("ipvs", marks=pytest.mark.ipvs_kernel),
]


class Place(contextlib.ExitStack):
    """A node with two pods that answer, and a client outside."""

    def __enter__(self):
        super().__enter__()
        self.topology = self.enter_context(Topology((NODE,), PODS))
        self.loop = self.enter_context(Loop())
        servers = Servers(self.loop)
        for ip in PODS:
            for protocol in ("TCP", "UDP"):
                servers.open(self.topology.home(ip), ip, 8080, protocol)
        self.name = self.topology.node
        return self

    def flow(self, to, port=80, protocol="TCP", source=CLIENT):
        flow = Conversation(self.loop, self.topology.home(source), source, to, port, protocol, 0)
        self.callback(flow.close)
        flow.start()
        return flow

    def asked(self, *arguments, **more):
        """Who answers a new connection."""
        flow = self.flow(*arguments, **more)
        answer = flow.opened(2.0)
        flow.close()
        return answer


@pytest.fixture
def place():
    with Place() as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
def test_changes_reach_packets_and_open_connections_stay(place, tmp_path, mode):
    if reason := missing(mode):
        pytest.skip(reason)
    one, two = (f"{ip}:8080" for ip in PODS)
    web = service("web", VIP)
    with Running(place.name, mode, tmp_path, [web, slice_of("web", PODS[0])]) as agent:
        assert agent.record.last_sync.full
        held = place.flow(VIP)
        assert held.opened() == one
        agent.put(slice_of("web", PODS[1]))
        assert not agent.record.last_sync.full
        assert place.asked(VIP) == two
        assert held.ask() == one
        agent.put(service("dns", OTHER, {"name": "p", "port": 53, "protocol": "UDP"}))
        agent.put(slice_of("dns", PODS[0], protocol="UDP"))
        datagrams = place.flow(OTHER, 53, "UDP")
        assert datagrams.opened() == one
        agent.put(slice_of("dns", PODS[1], protocol="UDP"))
        agent.wait(lambda: datagrams.ask(0.3) == two)  # conntrack is looked at after the rules
        agent.put(slice_of("web"))
        assert place.asked(VIP) == "Connection refused"
        agent.put(slice_of("web", *PODS), service("web", VIP, {"name": "p", "port": 81}))
        assert place.asked(VIP, 81) in (one, two)
        agent.gone(web)
        assert [row.service for row in agent.agent.programmed()] == ["shop/dns"]
        assert agent.agent.mode == mode
    assert place.asked(OTHER, 53, "UDP") == two  # the rules stay


def test_a_restart_over_unchanged_rules_writes_nothing(place, tmp_path):
    objects = [service("web", VIP), slice_of("web", *PODS), node("node-a", NODE)]
    with Running(place.name, "nftables", tmp_path, objects):
        pass
    with netns.enter(place.name):
        before = generation()
    with Running(place.name, "nftables", tmp_path, objects) as agent:
        assert agent.record.last_sync.changes == 0
        agent.put(*objects)  # as a watch that begins again gives them
        assert agent.record.counts.syncs == 1
        with netns.enter(place.name):
            assert generation() == before
        with pytest.raises(LockedError, match=r"kcompile run \(pid \d+\) holds this node"):
            Running(place.name, "nftables", tmp_path, objects).__enter__()
    assert not list(tmp_path.glob("run/*/holder.json"))


def test_a_bad_object_stops_its_own_service_alone(place, tmp_path):
    one, two = (f"{ip}:8080" for ip in PODS)
    objects = [service("web", VIP), slice_of("web", PODS[0]), service("api", OTHER)]
    with Running(place.name, "nftables", tmp_path, objects) as agent:
        agent.put(slice_of("web", "10.244.0.300"), slice_of("api", PODS[1]))
        assert "10.244.0.300" in agent.record.errors["shop/web"][0]
        assert (place.asked(VIP), place.asked(OTHER)) == (one, two)
        (row,) = [row for row in agent.agent.programmed() if row.error]
        assert (row.service, row.endpoints) == ("shop/web", 1)
        assert sum("last good rules" in line for line in agent.lines) == 1
        agent.put(slice_of("web", PODS[1]))
        assert not agent.record.errors
        assert place.asked(VIP) == two


def test_the_configuration_is_read_again_and_what_it_lacks_is_named(place, tmp_path):
    config = {"config": _config(tmp_path, "noSuchField: 1")}
    with Running(place.name, "nftables", tmp_path, [service("web", VIP)], **config) as agent:
        said = "\n".join(agent.lines)
        assert re.search(r"noSuchField.* \[config\]", said), said
        assert "there is no Node node-a: " in said
        _config(tmp_path, "nonsense")
        agent.reload()
        assert "the configuration stays as it was" in agent.lines[-1]
        _config(tmp_path, "")
        agent.reload()
        assert agent.lines[-1] == "the configuration was read again"


def test_the_node_and_its_addresses_may_come_later(place, tmp_path):
    late = "198.51.100.9"
    web = service("web", VIP, {"name": "p", "port": 80, "nodePort": 30001}, type="NodePort")
    options = {"config": _config(tmp_path, 'nodePortAddresses: ["198.51.100.0/24"]')}
    with Running(place.name, "nftables", tmp_path, [web, slice_of("web", PODS[0])], **options) as agent:
        assert place.asked(late, 30001) != f"{PODS[0]}:8080"
        syncs = agent.record.counts.syncs
        netns.batch([f"address add {late}/32 dev {place.topology.uplink}"], place.name)
        agent.wait(lambda: agent.record.counts.syncs > syncs)
        assert place.asked(late, 30001) == f"{PODS[0]}:8080"
        agent.put(node("node-a", NODE))  # its heartbeats change nothing, its addresses do
        full = agent.record.counts.full_syncs
        agent.put(node("node-a", NODE))
        assert agent.record.counts.full_syncs == full
        assert not agent.record.counts.drifts


def test_a_health_check_port_that_was_taken_is_answered_once_it_is_free(place, tmp_path):
    def connects():
        with contextlib.suppress(OSError), socket.create_connection((NODE, 32001), 1) as asking:
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b" 503 " in asking.recv(32)

    port = {"name": "p", "port": 80, "nodePort": 30001}
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32001}
    web = service("web", VIP, port, type="LoadBalancer", **local)
    with netns.enter(place.name):
        taken = socket.create_server(("0.0.0.0", 32001))
    with taken, Running(place.name, "nftables", tmp_path, [web], sync_period=1.0) as agent:
        (line,) = [line for line in agent.lines if "health check port" in line]
        assert "Address already in use" in line
        taken.close()
        with netns.enter(place.name):
            agent.wait(connects)
        assert sum("health check port" in line for line in agent.lines) == 1


def test_rules_that_others_remove_are_back_and_named(place, tmp_path):
    with Running(place.name, "nftables", tmp_path, [service("web", VIP), slice_of("web", PODS[0])]) as agent:
        netns.run(place.name, ["nft", "add", "table", "ip", "elsewhere"])
        netns.run(place.name, ["nft", "flush", "chain", "ip", "kcompile", "tcp-plain-1"])
        agent.wait(lambda: agent.record.counts.drifts)
        agent.settled()
        assert place.asked(VIP) == f"{PODS[0]}:8080"
        assert agent.record.counts.drifts == 1
        assert "tcp-plain-1" in agent.record.last_drift[1][0]
        netns.run(place.name, ["nft", "delete", "table", "ip", "kcompile"])
        agent.put(slice_of("web", PODS[1]))  # whether that fails, or comes after the repair
        agent.wait(lambda: place.asked(VIP) == f"{PODS[1]}:8080")


def _config(folder, text):
    path = folder / "config.yaml"
    path.write_text(f"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{text}\n")
    return str(path)
