"""The store: what writes do to objects, versions and allocations, and what it remembers."""

import pytest

from kcompile.apiserver import StatusError, Store
from kcompile.apiserver.resources import RESOURCES


def service(name: str = "web", **spec) -> dict:
    meta = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": [{"port": 80}]} | spec,
    }


def node(**meta) -> dict:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", **meta}}


def refused(code: int, reason: str):
    def check(error: StatusError) -> bool:
        return (error.code, error.reason) == (code, reason)

    return pytest.RaisesExc(StatusError, check=check)


@pytest.fixture
def store() -> Store:
    return Store()


def test_every_write_has_a_version_of_its_own_and_no_change_has_none(store):
    first = store.create(service())
    versions = [store.version]
    assert first["metadata"]["resourceVersion"] == str(store.version)
    assert store.update(first) == first
    assert store.version == versions[0]
    second = store.update(first | {"spec": first["spec"] | {"selector": {"app": "web"}}})
    store.put(node())
    third = store.delete("Service", "default", "web")
    assert [int(each["metadata"]["resourceVersion"]) for each in (second, third)] == [
        versions[0] + 1,
        versions[0] + 3,
    ]
    assert store.list("Service") == []
    kept = ("uid", "creationTimestamp", "name", "namespace")
    assert [[each["metadata"][key] for key in kept] for each in (second, third)] == [
        [first["metadata"][key] for key in kept]
    ] * 2


def test_a_write_is_refused_where_a_real_server_refuses_it(store):
    first = store.create(service())
    with refused(409, "AlreadyExists"):
        store.create(service())
    with refused(404, "NotFound"):
        store.create(service() | {"metadata": {"name": "web", "namespace": "nowhere"}})
    with refused(404, "NotFound"):
        store.update(service("other"))
    with refused(404, "NotFound"):
        store.get("Service", "default", "other")
    with refused(400, "BadRequest"):
        store.create(service("other") | {"apiVersion": "v2"})
    with refused(404, "NotFound"):
        store.list("Gadget")
    store.update(first | {"spec": first["spec"] | {"selector": {"app": "web"}}})
    with refused(409, "Conflict"):
        store.update(first)
    for wanted in ({"resourceVersion": "1"}, {"uid": "another"}):
        with refused(409, "Conflict"):
            store.delete("Service", "default", "web", wanted)
    for spec in ({"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"]}, {"ports": []}):
        with refused(422, "Invalid"):
            store.update(service(**spec))


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": []},
        {"metadata": {"name": 5}},
        {"metadata": {"generateName": 5}},
        {"metadata": {"name": "web", "labels": ["a"]}},
        {"spec": []},
        {"spec": {"ports": [80]}},
        {"spec": {"ports": {"port": 80}}},
    ],
)
def test_what_is_no_such_object_is_a_bad_request(store, wrong):
    store.create(service())
    for write in (store.create, store.update):
        if write is store.create or "metadata" not in wrong:
            with pytest.raises(StatusError) as caught:
                write(service() | wrong)
            assert caught.value.code in (400, 422)


def test_a_clients_metadata_and_status_are_not_the_servers(store):
    mine = {
        "uid": "mine",
        "resourceVersion": "7",
        "generation": 9,
        "creationTimestamp": "2001-01-01T00:00:00Z",
    }
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    made = store.create(service() | {"status": status, "metadata": {"generateName": "web-", **mine}})
    assert made["metadata"]["name"].startswith("web-")
    assert not set(mine.items()) & set(made["metadata"].items())
    assert made["status"] == {"loadBalancer": {}}
    name = made["metadata"]["name"]
    store.put(made | {"status": status})
    assert store.update(service(name, selector={"a": "b"}))["status"] == status


def test_put_keeps_what_it_is_given(store):
    going = node(deletionTimestamp="2026-01-01T00:00:00Z", namespace="ignored") | {"status": {"phase": "x"}}
    store.put(going)
    kept = store.get("Node", "", "n1")
    assert (kept["status"], kept["metadata"]["deletionTimestamp"]) == ({"phase": "x"}, "2026-01-01T00:00:00Z")
    store.put(node())
    assert "deletionTimestamp" not in store.get("Node", "", "n1")["metadata"]
    assert store.get("Node", "", "n1")["metadata"]["uid"] == kept["metadata"]["uid"]


def test_what_a_service_was_allocated_stays_and_is_free_after_it(store):
    fixed = {"clusterIP": "10.96.0.50", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30050}]}
    store.create(service(**fixed))
    for taken in ({"clusterIP": "10.96.0.50"}, {"type": "NodePort", "ports": fixed["ports"]}):
        with refused(422, "Invalid"):
            store.create(service("other", **taken))
    changed = store.update(service(type="NodePort", ports=[{"port": 81}]))
    assert changed["spec"]["clusterIPs"] == ["10.96.0.50"]
    assert changed["spec"]["ports"][0]["nodePort"] == 30050
    with refused(422, "Invalid"):
        store.create(service("other", **fixed))
    store.delete("Service", "default", "web")
    store.create(service("other", **fixed))
    store.put(service("put", clusterIP="10.96.0.51", clusterIPs=["10.96.0.51"]))
    with refused(422, "Invalid"):
        store.create(service("third", clusterIP="10.96.0.51"))
    store.compact()
    with refused(422, "Invalid"):
        store.create(service("third", clusterIP="10.96.0.51"))


def test_a_service_stops_being_one_with_an_address(store):
    store.create(service(clusterIP="10.96.0.50"))
    store.update(service(type="ExternalName", externalName="example.com", ports=[]))
    assert "clusterIP" not in store.get("Service", "default", "web")["spec"]
    store.create(service("other", clusterIP="10.96.0.50"))
    back = store.update(service(type="ClusterIP"))
    assert back["spec"]["clusterIP"] != "10.96.0.50"


def test_a_service_loses_with_its_type_what_only_that_type_has(store):
    ports = [{"port": 80, "name": "a", "nodePort": 30050}]
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30060}
    made = store.create(service(type="LoadBalancer", ports=ports, **local))
    assert store.update(service(type="LoadBalancer", ports=[{"port": 81, "name": "a"}], **local))["spec"][
        "ports"
    ] == [{"port": 81, "name": "a", "nodePort": 30050, "protocol": "TCP", "targetPort": 81}]
    again = made | {"metadata": {"name": "web"}, "spec": made["spec"] | {"type": "ClusterIP"}}
    spec = store.update(again)["spec"]
    assert spec["clusterIP"] == made["spec"]["clusterIP"]
    assert not {"externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"} & set(spec)
    assert "nodePort" not in spec["ports"][0]


def test_a_namespace_keeps_its_status_and_its_name_as_a_label(store):
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "default", "labels": {"a": "b"}},
    }
    changed = store.update(namespace)
    assert changed["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "default"}
    assert (changed["status"], changed["spec"]) == ({"phase": "Active"}, {"finalizers": ["kubernetes"]})


def test_what_was_put_unchecked_stands_in_nobodys_way(store):
    store.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}})
    cidr = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "empty"}}
    store.put(cidr)
    assert store.create(service("other"))["spec"]["clusterIP"].startswith("10.")
    assert store.update(service())["spec"]["clusterIP"].startswith("10.")


def test_addresses_come_from_the_service_cidrs(store):
    cidr = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}}
    store.create(cidr | {"spec": {"cidrs": ["10.1.2.0/29"]}})
    addresses = {store.create(service(f"s{number}"))["spec"]["clusterIP"] for number in range(5)}
    assert addresses == {f"10.1.2.{number}" for number in range(2, 7)}
    with refused(422, "Invalid"):
        store.create(service("one-more"))


def test_a_namespace_goes_with_what_is_in_it(store):
    store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    store.create(service("kept"))
    store.create(service() | {"metadata": {"name": "web", "namespace": "shop"}})
    store.delete("Namespace", "", "shop")
    assert [each["metadata"]["name"] for each in store.list("Service")] == ["kept"]


def test_what_is_returned_and_what_was_given_is_the_callers_own(store):
    given = service(selector={"app": "web"})
    store.put(given)
    given["spec"]["selector"]["app"] = store.get("Service", "default", "web")["spec"]["selector"]["app"] = "x"
    assert store.list("Service")[0]["spec"]["selector"] == {"app": "web"}


def test_the_past_is_known_as_far_as_the_history_goes():
    store = Store(history=4)
    collection = store.collection(next(each for each in RESOURCES if each.kind == "Service"))
    seen = {}
    for number in range(20):
        name = f"s{number % 3}"
        if number % 4 == 3:
            store.delete("Service", "default", f"s{(number - 1) % 3}")
        else:
            store.put(service(name, clusterIP=f"10.96.0.{number + 1}"))
        seen[store.version] = store.list("Service")
    known = {version: objects for version, objects in seen.items() if version >= collection.oldest}
    assert 4 <= len(known) - 1 < 20
    for version, objects in known.items():
        assert [item.object() for item in collection.sorted_at(version)] == objects
    with refused(410, "Expired"):
        collection.sorted_at(collection.oldest - 1)
    assert len(collection.history) < 8
