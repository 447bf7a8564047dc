"""Edits of an input: what the short way makes of them equals what reading and compiling everything makes."""

import copy
import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcompile.engine.cluster import complete_input
from kcompile.engine.compile import compile_cluster
from kcompile.engine.edit import is_taken, itemize, spliced, touched
from kcompile.engine.read import read_input
from kcompile.engine.request import Request, configuration
from kcompile.engine.session import differing
from kcompile.modes import mode_of
from kcompile.plans import service_changes
from kcompile.spec.convert import service_ports
from kcompile.spec.load import Text

SERVICES = 4
endpoints = st.lists(
    st.builds(
        lambda host, node, ready, serving: {
            "addresses": [f"10.244.1.{host}"],
            "nodeName": node,
            "conditions": {"ready": ready, "serving": serving},
        },
        st.integers(1, 6),
        st.sampled_from(["node-a", "node-b"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda endpoint: endpoint["addresses"][0],
)
kinds = st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"])


def service(i: int, kind: str, local: bool, external: list[str] | None = None) -> dict:
    spec = {
        "type": kind,
        "clusterIP": f"10.96.0.{i + 1}",
        "clusterIPs": [f"10.96.0.{i + 1}"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    if external:
        spec["externalIPs"] = external
    if kind != "ClusterIP":
        spec["ports"][0]["nodePort"] = 30000 + i
        spec["externalTrafficPolicy"] = "Local" if local else "Cluster"
    if kind == "LoadBalancer" and local:
        spec["healthCheckNodePort"] = 31000 + i
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"web-{i}", "namespace": "demo"},
        "spec": spec,
    }


def endpoint_slice(i: int, number: int, found: list[dict]) -> dict:
    meta = {
        "name": f"web-{i}-{number}",
        "namespace": "demo",
        "labels": {"kubernetes.io/service-name": f"web-{i}"},
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": found,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def node() -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-a"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    }


@st.composite
def inputs(draw: st.DrawFn, external: bool = False) -> list[dict]:
    """`external`: some Services have an externalIP that may be an endpoint's, too."""
    items = [node()]
    for i in range(SERVICES):
        addresses = [f"10.244.1.{i + 1}"] if external and draw(st.booleans()) else None
        items.append(service(i, draw(kinds), draw(st.booleans()), addresses))
        items += [endpoint_slice(i, number, draw(endpoints)) for number in range(2)]
    return items


REQUEST = Request(files=("in.json",), node="node-a")
CONFIG = configuration(REQUEST)


def text(items: list[dict]) -> Text:
    return Text(
        "in.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2).encode()
    )


def compiled(found: Text, mode: str = "nftables"):
    given = read_input(REQUEST, config=CONFIG, found=[found])
    cluster = complete_input(given, REQUEST, Path("/nonexistent/allocations.json"))
    return compile_cluster(cluster, REQUEST, default_mode=mode)


def edit(before: Text, after: Text):
    old, new = itemize(REQUEST, CONFIG, [before]), itemize(REQUEST, CONFIG, [after])
    short = itemize(REQUEST, CONFIG, [after], old.known)
    assert short == new
    return touched(short, old.known)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inputs(), st.data())
def test_the_short_way_comes_to_the_same(items, data):
    changed = copy.deepcopy(items)
    slices = [item for item in changed if item["kind"] == "EndpointSlice"]
    for item in data.draw(st.lists(st.sampled_from(slices), min_size=1, max_size=3, unique_by=id)):
        item["endpoints"] = data.draw(endpoints)
    before, after = text(items), text(changed)
    found = edit(before, after)
    if items == changed:
        assert found is None
        return
    old, whole, part = compiled(before), compiled(after), compiled(found.text)
    made = spliced(old.dataplane, part.dataplane, found.services)
    assert made == whole.dataplane
    assert set(part.warnings) <= set(whole.warnings)
    if not old.warnings and not part.warnings:
        assert not whole.warnings
    for mode in ("nftables", "iptables"):
        target = mode_of(mode).target()
        assert list(target.lower(made).items()) == list(target.lower(whole.dataplane).items())
    target = mode_of("nftables").target()
    views = [target.frontends(target.lower(plane)) for plane in (old.dataplane, made)]
    parts = [target.frontends(target.lower(plane)) for plane in differing(old.dataplane, made)]
    assert service_changes(*parts) == service_changes(*views)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inputs(external=True), endpoints)
def test_the_short_way_of_a_mode_that_binds_addresses(items, found):
    changed = copy.deepcopy(items)
    changed[2]["endpoints"] = found
    short = edit(text(items), text(changed))
    if short is None:
        return
    old, whole, part = (compiled(one, "ipvs") for one in (text(items), text(changed), short.text))
    if old.warnings or part.warnings or is_taken(old.dataplane, service_ports(part.cluster.inventory)):
        return
    assert spliced(old.dataplane, part.dataplane, short.services) == whole.dataplane
    assert not whole.warnings


BASE = [
    node(),
    service(0, "ClusterIP", False),
    endpoint_slice(0, 0, []),
    service(1, "ClusterIP", False),
    endpoint_slice(1, 0, []),
]
ENDPOINT = {"addresses": ["10.244.1.1"], "nodeName": "node-a"}


def edited(change) -> Text:
    items = copy.deepcopy(BASE)
    return text(change(items) or items)


def test_an_endpoint_is_an_edit_of_its_service_alone():
    def change(items):
        items[2]["endpoints"].append(ENDPOINT)

    found = edit(text(BASE), edited(change))
    assert found.services == {"demo/web-0"}
    kinds = [item["kind"] for item in json.loads(found.text.data)["items"]]
    assert kinds == ["Node", "Service", "EndpointSlice"]


def test_anything_else_is_no_such_edit():
    def relabelled(items):
        items[2]["metadata"]["labels"]["kubernetes.io/service-name"] = "web-1"

    def unlabelled(items):
        items[2]["metadata"]["labels"] = {}

    def renamed(items):
        items[2]["metadata"]["name"] = "other"

    def another_service(items):
        items[1]["spec"]["ports"][0]["port"] = 81

    def another_node(items):
        items[0]["status"]["addresses"][0]["address"] = "192.0.2.2"

    def one_more(items):
        items.append(endpoint_slice(1, 1, [ENDPOINT]))

    def one_less(items):
        del items[4]

    def turned(items):
        return [items[0], items[3], items[4], items[1], items[2]]

    def a_pod(items):
        items[2] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}}

    for change in (
        relabelled,
        unlabelled,
        renamed,
        another_service,
        another_node,
        one_more,
        one_less,
        turned,
    ):
        assert edit(text(BASE), edited(change)) is None, change.__name__
    assert itemize(REQUEST, CONFIG, [edited(a_pod)]) is None


def test_a_second_list_of_items_is_seen():
    whole = text(BASE).data
    start, end = whole.index(b'"items"'), whole.rindex(b"]") + 1
    twice = Text(
        "in.json", whole[:end] + b",\n  " + whole[start:].replace(b'"endpoints": []', b'"endpoints": [ ]', 1)
    )
    assert edit(text(BASE), twice) is None


def test_what_is_no_plain_list_is_read_whole():
    one = text(BASE)
    for data in (
        b"kind: List\nitems: []\n",
        b'{"kind": "List", "items": []}',
        b'{"kind":"Service"}',
        b"[1]",
        b"\xff",
    ):
        assert itemize(REQUEST, CONFIG, [Text("in.json", data)]) is None
    assert itemize(REQUEST, CONFIG, [one, one]) is None
    assert itemize(REQUEST, CONFIG, []) is None


def test_an_endpoint_with_the_address_of_a_service_is_looked_at_in_the_whole():
    items = [*BASE[:3], service(1, "ClusterIP", False, ["10.244.1.1"]), BASE[4]]
    changed = copy.deepcopy(items)
    changed[2]["endpoints"].append(ENDPOINT)
    old, whole = compiled(text(items), "ipvs"), compiled(text(changed), "ipvs")
    part = compiled(edit(text(items), text(changed)).text, "ipvs")
    assert (old.warnings, part.warnings) == ((), ())
    assert whole.warnings
    assert is_taken(old.dataplane, service_ports(part.cluster.inventory))
