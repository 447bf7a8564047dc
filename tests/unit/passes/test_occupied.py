"""External addresses that are another host's."""

from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.passes import without_occupied

HOSTS = {"192.0.2.10": "Node node-a", "192.0.2.11": "Node node-b", "2001:db8::11": "Node node-b"}
OWN = ("192.0.2.10",)


def port(name: str = "demo/web:p", family: Family = Family.IPV4, **fields) -> ServicePort:
    return ServicePort(
        name=name, family=family, protocol=Protocol.TCP, port=80, cluster_ip="10.96.0.1", **fields
    )


def test_what_is_nobodys_stays_as_it_is():
    ports = [port(external_ips=("203.0.113.1",), load_balancer_ips=("203.0.113.2", "192.0.2.10"))]
    assert without_occupied(ports, HOSTS, OWN) == (ports, [])


def test_each_address_of_a_service_is_named_once():
    ports = [port(name, external_ips=("192.0.2.11", "203.0.113.1")) for name in ("demo/web:p", "demo/web:q")]
    kept, warnings = without_occupied(ports, HOSTS, OWN)
    assert [p.external_ips for p in kept] == [("203.0.113.1",)] * 2
    (warning,) = warnings
    assert str(warning).startswith("Service demo/web: externalIP 192.0.2.11 is the address of Node node-b, ")


def test_endpoints_are_hosts_in_both_families_and_those_in_the_nodes_own_network_are_not():
    ends = (Endpoint("fd00::7", 80), Endpoint("2001:db8::10", 80, "node-a"))
    ports = [
        port("demo/a:p", Family.IPV6, load_balancer_ips=("fd00::7", "2001:db8::10", "2001:db8::11")),
        port("demo/b:p", Family.IPV6, endpoints=ends),
    ]
    kept, warnings = without_occupied(ports, HOSTS, (*OWN, "2001:db8::10"))
    assert kept[0].load_balancer_ips == ("2001:db8::10",)
    assert [str(w).partition(" is the address of ")[2].partition(",")[0] for w in warnings] == [
        "an endpoint of Service demo/b",
        "Node node-b",
    ]
    assert kept[1] is ports[1]
