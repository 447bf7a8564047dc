"""CoreDNS's own cases (coredns.txt), asked of our records of the same objects."""

import re
from pathlib import Path
from typing import NamedTuple

import dns.message
import dns.rcode
import pytest

from kcompile.dns.answers import Answerer
from kcompile.dns.collect import Wanted, collected
from kcompile.dns.zones import Zones
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
        meta = Metadata(name=f"{of}-{family}-{len(hosts)}", namespace="testns", labels={SERVICE_LABEL: of})
        ports = [EndpointPort(name="http", port=port, protocol="TCP")]
        slices.append(EndpointSlice(metadata=meta, address_type=family, endpoints=ends, ports=ports))
    return slices


PODS = [
    Pod(metadata=Metadata(name="foo", namespace="podns"), status=PodStatus(pod_ip="10.240.0.1")),
]
PODLESS = Inventory(
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
)  # fmt: skip
REVERSE = Inventory(
    services=[service("svc1", "192.168.1.100"), service("svc2", "192.168.1.101")],
    endpoint_slices=[
        *endpoints("svc1", 80, ep1a="10.0.0.100", double_ep="10.0.0.99", ep1b="1234:abcd::1",
                   ip6svc1ex="fd00:77:30::a", ip6svc1in="fd00:77:30::2:9ba6"),
        *endpoints("svc1", 80, ep1a="10.0.0.100"),
        *endpoints("svc2", 80, double_ep="10.0.0.99"),
    ],
)  # fmt: skip
RANGES = ClusterSettings(
    service_cidrs=("192.168.0.0/16",), pod_cidrs=("10.0.0.0/16", "1234:abcd::/96", "fd00:77:30::/96")
)


def answering(inventory: Inventory, settings: ClusterSettings) -> Answerer:
    return Answerer(collected(inventory, Wanted(settings, 5, ("127.0.0.1",)), 1))


ANSWERERS = {
    "all": answering(Inventory(PODLESS.services, PODLESS.endpoint_slices, pods=PODS), ClusterSettings()),
    "podless": answering(PODLESS, ClusterSettings()),
    "reverse": answering(REVERSE, RANGES),
    "none": Answerer(Zones("cluster.local.", 5), ready=False),
}


class Case(NamedTuple):
    """`ours`: what we answer instead, by design."""

    objects: str
    name: str
    kind: str
    rcode: str
    data: set[str]
    ours: tuple[str, set[str]] | None = None


def split(data: str) -> set[str]:
    return {text.strip() for text in data.split("|")} if data else set()


def cases() -> list[Case]:
    found: list[Case] = []
    objects = ""
    for line in (Path(__file__).parent / "coredns.txt").read_text().splitlines():
        if line.startswith("["):
            objects = line[1:].partition("]")[0]
        elif differs := re.fullmatch(r"  ours (\w+) ?(.*?): .+", line):
            found[-1] = found[-1]._replace(ours=(differs[1], split(differs[2])))
        elif line and not line.startswith("#"):
            name, kind, rcode, *data = line.split(maxsplit=3)
            absolute = name if name.endswith(".") else f"{name}.cluster.local."
            found.append(Case(objects, absolute, kind, rcode, split("".join(data))))
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.objects} {case.name} {case.kind}")
def test_as_coredns(case: Case):
    query = dns.message.make_query(case.name, case.kind)
    wire = ANSWERERS[case.objects].answer(query.to_wire(), {})
    assert isinstance(wire, bytes)
    reply = dns.message.from_wire(wire)
    said = (
        dns.rcode.to_text(reply.rcode()),
        {record.to_text().lower() for rrset in reply.answer for record in rrset},
    )
    assert said == (case.ours or (case.rcode, case.data))
    assert bool(reply.authority) == (not said[1] and said[0] != "SERVFAIL")
    assert reply.question[0].name.to_text() == case.name  # also in its case
    assert case.ours != (case.rcode, case.data)  # else it isn't another one


def test_the_hosts_of_services_come_along():
    query = dns.message.make_query("_http._tcp.hdls1.testns.svc.cluster.local.", "SRV", use_edns=0)
    reply = dns.message.from_wire(ANSWERERS["all"].answer(query.to_wire(), {}))
    assert {r.to_text() for rrset in reply.additional for r in rrset} == {
        "172.0.0.2", "172.0.0.3", "172.0.0.4", "172.0.0.5", "5678:abcd::1", "5678:abcd::2",
    }  # fmt: skip
