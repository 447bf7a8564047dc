"""CoreDNS's own cases (coredns.txt), asked of our records of the same objects."""

from pathlib import Path

import dns.message
import dns.rcode
import pytest

from kcompile.dns.answers import Answerer
from kcompile.dns.collect import Wanted, collected
from kcompile.spec.cluster import ClusterSettings
from kcompile.spec.inventory import Inventory
from kcompile.spec.objects import (
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Metadata,
    Pod,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from kcompile.spec.wellknown import SERVICE_LABEL

LINES = (Path(__file__).parent / "coredns.txt").read_text().splitlines()
CASES = [line.split(maxsplit=3) for line in LINES if not line.startswith("#")]
HTTP = [ServicePort(name="http", port=80)]


def service(name: str, *addresses: str, ports: list[ServicePort] = HTTP, external: str = "") -> Service:
    spec = ServiceSpec(
        cluster_ip=addresses[0] if addresses else "",
        cluster_ips=list(addresses),
        type="ExternalName" if external else "ClusterIP",
        external_name=external,
        ports=ports,
    )
    return Service(metadata=Metadata(name=name, namespace="testns"), spec=spec)


def endpoints(of: str, port: int | None, **hosts: str) -> list[EndpointSlice]:
    """One slice an IP version. `hosts`: address by name; a name that starts with an underscore is none."""
    slices = []
    for family in ("IPv4", "IPv6"):
        own = {n: a for n, a in hosts.items() if (":" in a) == (family == "IPv6")}
        ends = [
            Endpoint(addresses=[a], hostname=None if n.startswith("_") else n.rstrip("_").replace("_", "-"))
            for n, a in own.items()
        ]
        meta = Metadata(name=f"{of}-{family}", namespace="testns", labels={SERVICE_LABEL: of})
        ports = [EndpointPort(name="http", port=port, protocol="TCP")]
        slices.append(EndpointSlice(metadata=meta, address_type=family, endpoints=ends, ports=ports))
    return slices


INVENTORY = Inventory(
    services=[
        service("svc1", "10.0.0.1"),
        service("svcempty", "10.0.0.1"),
        service("svc6", "1234:abcd::1"),
        service("hdls1", "None", ports=[]),
        service("hdlsprtls", "None", ports=[]),
        service("external", external="ext.interwebs.test"),
        service("external-to-service", external="svc1.testns.svc.cluster.local."),
        service("svc-dual-stack", "10.0.0.3", "10::3"),
    ],
    endpoint_slices=[
        *endpoints("svc1", 80, ep1a="172.0.0.1"),
        *endpoints("hdls1", 80, _1="172.0.0.2", _2="172.0.0.3", dup_name="172.0.0.4", dup_name_="172.0.0.5",
                   _5="5678:abcd::1", _6="5678:abcd::2"),
        *endpoints("hdlsprtls", None, _1="172.0.0.20"),
    ],
    pods=[
        Pod(metadata=Metadata(name="foo", namespace="podns"), status=PodStatus(pod_ip="10.240.0.1")),
    ],
)  # fmt: skip


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return Answerer(collected(INVENTORY, Wanted(ClusterSettings(), 5), 1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:2]))
def test_as_coredns(answerer: Answerer, case: list[str]):
    name, kind, rcode, *data = case
    query = dns.message.make_query(f"{name}.cluster.local.", kind)
    wire = answerer.answer(query.to_wire(), {})
    assert isinstance(wire, bytes)
    reply = dns.message.from_wire(wire)
    found = {record.to_text() for rrset in reply.answer for record in rrset}
    assert dns.rcode.to_text(reply.rcode()) == rcode
    assert found == ({text.strip() for text in data[0].split("|")} if data else set())
    assert bool(reply.authority) == (not data)


def test_the_hosts_of_services_come_along(answerer: Answerer):
    query = dns.message.make_query("_http._tcp.hdls1.testns.svc.cluster.local.", "SRV", use_edns=0)
    reply = dns.message.from_wire(answerer.answer(query.to_wire(), {}))
    assert {r.to_text() for rrset in reply.additional for r in rrset} == {
        "172.0.0.2", "172.0.0.3", "172.0.0.4", "172.0.0.5", "5678:abcd::1", "5678:abcd::2",
    }  # fmt: skip
