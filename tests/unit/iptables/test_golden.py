"""Whole scripts of small dataplanes, as files: what a person reviews when a shape changes.

``pytest --update-golden`` writes them.
"""

from pathlib import Path

import pytest

from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.passes import resolve
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.iptables.render import render_program
from kcompile.targets.iptables.view import frontends

GOLDEN = Path(__file__).parents[2] / "golden" / "iptables"
NODE = NodeFacts(name="node-a", addresses=("192.0.2.10", "2001:db8:1::10"))
HERE = Endpoint("10.244.0.21", 8080, "node-a")
THERE = Endpoint("10.244.1.31", 8080, "node-b")
PODS = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00:10:244::/48")
EXTERNAL = {"node_port": 30080, "load_balancer_ips": ("198.18.0.20",)}


def settings(compat: str = "iptables", **more) -> Settings:
    return Settings(
        compat=Compat.of(compat),
        **{"detector": PODS, "service_cidrs": ("10.96.0.0/12", "fd00:10:96::/108"), **more},
    )


def port(name: str = "demo/web:http", **more) -> ServicePort:
    given = {
        "family": Family.IPV4,
        "protocol": Protocol.TCP,
        "port": 80,
        "cluster_ip": "10.96.0.20",
        "endpoints": (HERE, THERE),
    }
    return ServicePort(name=name, **{**given, **more})


V6 = {
    "family": Family.IPV6,
    "cluster_ip": "fd00:10:96::20",
    "node_port": 30080,
    "endpoints": (Endpoint("fd00:10:244::21", 8080, "node-a"), Endpoint("fd00:10:244:1::31", 8080, "node-b")),
}
MANY = tuple(Endpoint(f"10.244.1.{i}", 8080, "node-b") for i in range(1, 8))
CASES = {
    "cluster-ip": ([port()], settings(), NODE),
    "cluster-ip-many-endpoints": ([port(endpoints=MANY)], settings(), NODE),
    "no-endpoints": ([port(endpoints=(), **EXTERNAL)], settings(), NODE),
    "external": ([port(external_ips=("198.18.1.20",), **EXTERNAL)], settings(), NODE),
    "external-local": (
        [port(external_local=True, health_check_node_port=30940, **EXTERNAL)],
        settings(),
        NODE,
    ),
    "external-local-none-local": (
        [port(external_local=True, endpoints=(THERE,), **EXTERNAL)],
        settings(),
        NODE,
    ),
    "internal-local-none-local": ([port(internal_local=True, endpoints=(THERE,))], settings(), NODE),
    "source-ranges": (
        [port(source_ranges=("203.0.113.0/29", "198.51.100.0/24"), **EXTERNAL)],
        settings(),
        NODE,
    ),
    "source-ranges-no-endpoints": (
        [port(source_ranges=("203.0.113.0/29",), endpoints=(), **EXTERNAL)],
        settings("nftables"),
        NODE,
    ),
    "affinity": ([port(affinity_seconds=10800, node_port=30080)], settings(), NODE),
    "ipv6": ([port(**V6)], settings(), NODE),
    "sctp-and-udp": (
        [port(protocol=Protocol.SCTP), port("demo/dns:dns", protocol=Protocol.UDP, port=53)],
        settings(),
        NODE,
    ),
    "compat-nftables": ([port(node_port=30080)], settings("nftables"), NODE),
    "masquerade-all": ([port()], settings(masquerade_all=True), NODE),
    "no-detector": ([port(node_port=30080, external_local=True)], settings(detector=Detector()), NODE),
    "interface-prefix": (
        [port()],
        settings(detector=Detector(DetectMode.INTERFACE_NAME_PREFIX, interface="pod")),
        NODE,
    ),
    "node-port-addresses": (
        [port(node_port=30080)],
        settings(),
        NodeFacts(
            name="node-a",
            addresses=NODE.addresses,
            node_ports4=("192.0.2.10", "127.0.0.1"),
            route_localnet=True,
        ),
    ),
    "many-ports": (
        [port(f"demo/many:p{i}", port=1000 + 7 * i, endpoints=MANY) for i in range(40)],
        settings(),
        NODE,
    ),
}


def program_of(name: str):
    ports, wanted, node = CASES[name]
    return IptablesTarget().lower(resolve(ports, node, wanted))


@pytest.fixture
def golden(request):
    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden", default=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.read_text() == text, (
            "if this is what you want: pytest --update-golden tests/unit/iptables"
        )

    return compare


@pytest.mark.parametrize("name", CASES)
def test_script(name, golden):
    program = program_of(name)
    golden(f"{name}.txt", "".join(f"# {family}\n{text}" for family, text in render_program(program).items()))


@pytest.mark.parametrize("name", CASES)
def test_view(name, golden):
    program = program_of(name)
    lines = []
    for f in frontends(program):
        sticky = f" sticky {f.affinity_seconds} s" if f.affinity_seconds else ""
        where = f"IPv{f.family} {f.protocol} {f.address} {f.port}"
        backends = " ".join(f.backends)
        lines.append(f"{f.service} {f.kind} {where} {f.verdict} {backends}".strip() + sticky)
    golden(f"{name}.view.txt", "\n".join(lines) + "\n")
