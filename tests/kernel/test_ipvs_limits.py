"""What mode ipvs can't do, on real packets: it says so at apply, and cuts the node off from nobody."""

import socket
import struct

import pytest

from harness import modes, netns
from harness.drift import Node, service
from harness.topology import Topology

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
NODE, NODE6 = "192.0.2.10", "2001:db8::10"
OTHER, OTHER6 = "192.0.2.11", "2001:db8::11"
POD, POD6, REMOTE = "10.244.0.21", "fd00:10:244::21", "10.244.1.5"
FREE, FREE6 = "203.0.113.50", "2001:db8:50::1"
SSH = 2222


@pytest.fixture
def topology():
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    with Topology([NODE, NODE6], [POD, POD6]) as made:
        yield made


@pytest.fixture
def node(topology, tmp_path):
    made = Node(topology.node, tmp_path, "ipvs")
    yield made
    assert made.run("delete").exit_code == 0


def node_object(name: str, *addresses: str) -> dict:
    status = {"addresses": [{"type": "InternalIP", "address": ip} for ip in addresses]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def pod_object(name: str, *addresses: str, **status) -> dict:
    ips = {"podIP": addresses[0], "podIPs": [{"ip": ip} for ip in addresses], **status}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "demo"}, "status": ips}


def version(ip: str) -> int:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def echoes(ip: str) -> bool:
    """Whether `ip` answers a ping."""
    six = ":" in ip
    protocol, kind, answer, skip = (
        (socket.IPPROTO_ICMPV6, 128, 129, 0) if six else (socket.IPPROTO_ICMP, 8, 0, 20)
    )
    with socket.socket(version(ip), socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(2)
        head = struct.pack("!BBHHH", kind, 0, 0, 7, 1)
        checksum = 0xFFFF - sum(struct.unpack("!4H", head)) % 0xFFFF  # the kernel does that of ICMPv6
        raw.sendto(struct.pack("!BBHHH", kind, 0, checksum, 7, 1), (ip, 0))
        try:
            while True:
                data, sender = raw.recvfrom(2048)
                if data[skip] == answer and sender[0] == ip:
                    return True
        except TimeoutError:
            return False


def reaches(ip: str, port: int) -> bool:
    try:
        socket.create_connection((ip, port), timeout=2).close()
    except OSError:
        return False
    return True


def listen(topology: Topology, ip: str, port: int) -> socket.socket:
    with netns.enter(topology.home(ip)):
        return socket.create_server((ip, port), family=version(ip))


def test_an_external_address_that_is_another_hosts_is_left_out(topology, node):
    objects = service(
        "web",
        1,
        type="LoadBalancer",
        externalIPs=[OTHER, OTHER6, POD, REMOTE, FREE, FREE6, NODE],
        allocateLoadBalancerNodePorts=False,
        ports=[{"name": "p", "port": 80, "protocol": "TCP"}, {"name": "q", "port": 81, "protocol": "TCP"}],
    )
    objects[0]["status"] = {"loadBalancer": {"ingress": [{"ip": POD6}, {"ip": OTHER}]}}
    for one in objects[1:]:
        address = POD if one["addressType"] == "IPv4" else POD6
        one["endpoints"] = [{"addresses": [address]}]
        one["ports"].append({"name": "q", "port": 8081})
    remote = service("elsewhere", 2)
    remote[1]["endpoints"] = [{"addresses": [REMOTE]}, {"addresses": [NODE]}]  # and one in the host network
    gone = pod_object("gone", FREE, phase="Succeeded")
    nodes = [node_object("node-a", NODE, NODE6), node_object("node-b", OTHER, OTHER6)]
    hosts = [(ip, SSH) for ip in (OTHER, OTHER6, POD, POD6)]
    listeners = [listen(topology, *host) for host in hosts]
    listeners += [listen(topology, POD, 8080), listen(topology, POD6, 8080)]
    try:
        told = node.apply([*nodes, gone, pod_object("web-1", POD), *objects, *remote])
        warned = [
            line.partition("Service demo/web: ")[2] for line in told.splitlines() if "left out here" in line
        ]
        assert [line.partition(",")[0] for line in warned] == [
            f"externalIP {OTHER} is the address of Node node-b",
            f"externalIP {POD} is the address of Pod demo/web-1",
            f"externalIP {REMOTE} is the address of an endpoint of Service demo/elsewhere",
            f"load-balancer address {OTHER} is the address of Node node-b",
            f"externalIP {OTHER6} is the address of Node node-b",
            f"load-balancer address {POD6} is the address of an endpoint of Service demo/web",
        ]
        with netns.enter(topology.node):
            cut_off = [ip for ip in (OTHER, OTHER6, POD, POD6, REMOTE) if not echoes(ip)]
            assert cut_off == []
            assert [host for host in hosts if not reaches(*host)] == []
            assert reaches(FREE, 80), "an address that is nobody's is served"
            assert reaches(FREE6, 80)
            assert reaches(NODE, 80), "so is the node's own"
        assert node.changes() == []
    finally:
        for one in listeners:
            one.close()


def test_affinity_that_outlives_its_timeout_is_said_once_for_each_service(node):
    def sticky(name: str, number: int, seconds: int, **spec) -> list[dict]:
        config = {"clientIP": {"timeoutSeconds": seconds}}
        return service(name, number, sessionAffinity="ClientIP", sessionAffinityConfig=config, **spec)

    udp = [{"name": "p", "port": 53, "protocol": "UDP"}]
    dns = sticky("dns", 3, 300, ports=udp)
    for one in dns[1:]:
        one["ports"] = [{"name": "p", "port": 53, "protocol": "UDP"}]
    told = node.apply(
        [node_object("node-a", NODE, NODE6), *sticky("short", 1, 3), *sticky("long", 2, 600), *dns]
    )
    said = [line for line in told.splitlines() if "session affinity" in line]
    assert [line.partition("Service ")[2].partition(",")[0].partition(" in mode")[0] for line in said] == [
        "demo/dns: session affinity of 300 s may last 360 s",
        "demo/short: session affinity of 3 s may last 180 s",
    ]
    assert [
        line
        for line in told.splitlines()
        if "datagrams" in line and "demo/dns" in line and "demo/short" not in line
    ]


@pytest.mark.parametrize(("ip", "pod", "most"), [("10.96.0.3", POD, 1472), ("fd00:10:96::3", POD6, 1452)])
def test_datagrams_of_the_node_that_need_two_packets_are_lost(topology, node, ip, pod, most):
    """As docs/reference/modes.md has it.

    Where a kernel no longer does that, the page and the warning can go.
    """
    dns = service("dns", 3, ports=[{"name": "p", "port": 53, "protocol": "UDP"}])
    for one, address in zip(dns[1:], (POD, POD6), strict=True):
        one["endpoints"] = [{"addresses": [address]}]
        one["ports"] = [{"name": "p", "port": 5353, "protocol": "UDP"}]
    node.apply([node_object("node-a", NODE, NODE6), *dns])
    with netns.enter(topology.home(pod)):
        server = socket.socket(version(pod), socket.SOCK_DGRAM)
        server.bind((pod, 5353))
        server.settimeout(2)
    with server, netns.enter(topology.node):
        arrived = {}
        for size in (100, most, most + 1, 4000):
            with socket.socket(version(ip), socket.SOCK_DGRAM) as client:
                try:
                    client.sendto(bytes(size), (ip, 53))
                    arrived[size] = len(server.recv(8192)) == size
                except (TimeoutError, OSError):
                    arrived[size] = False
        assert arrived == {100: True, most: True, most + 1: False, 4000: False}
