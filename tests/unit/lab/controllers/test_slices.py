"""From the slices that there are to those that are wanted, in few writes; and Endpoints."""

import pytest

from harness.controllers import service
from kcompile.lab.controllers.endpoints import decide as endpoints_of
from kcompile.lab.controllers.endpointslices import groups_of
from kcompile.lab.controllers.slices import Group, labels_of
from kcompile.lab.controllers.slices import reconcile as reconcile_slices
from kcompile.lab.controllers.writes import Create, Delete, Update
from kcompile.spec.complete import endpoint_groups
from kcompile.spec.decode import typed
from kcompile.spec.objects import Pod, Service

HTTP = (("http", "TCP", 80, ""),)
OTHER = (("http", "TCP", 8080, ""),)


def web(**spec) -> dict:
    made = service("web", ipFamilies=["IPv4"], **spec)
    made["metadata"]["uid"] = "s"
    return made


def endpoint(number: int, **more) -> dict:
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return {"addresses": [address], "conditions": {"ready": True}, "targetRef": {"uid": str(number)}, **more}


def group(numbers, ports=HTTP, **more) -> Group:
    return Group("IPv4", ports, [endpoint(number, **more) for number in numbers])


def reconcile(made: dict, groups, existing):
    headless = made["spec"].get("clusterIP") == "None"
    labels = labels_of(made, "endpointslice-controller.k8s.io", headless=headless)
    return reconcile_slices(made, groups, existing, labels, made["spec"]["ipFamilies"])


def written(existing: list[dict], writes) -> list[dict]:
    """The slices after the writes, each with a name."""
    found = {each["metadata"]["name"]: each for each in existing}
    for number, write in enumerate(writes):
        if isinstance(write, Delete):
            del found[write.obj["metadata"]["name"]]
        else:
            meta = write.obj["metadata"]
            name = meta.get("name") or f"web-{len(found)}-{number}"
            found[name] = {**write.obj, "metadata": {**meta, "name": name}}
    return list(found.values())


def settled(*groups: Group) -> list[dict]:
    return written([], reconcile(web(), groups, []))


def addresses(slices) -> list[str]:
    return sorted(each["addresses"][0] for found in slices for each in found["endpoints"])


def test_a_thousand_endpoints_take_ten_slices_and_a_change_takes_one_write():
    slices = settled(group(range(1000)))
    assert [len(each["endpoints"]) for each in slices] == [100] * 10
    assert reconcile(web(), [group(range(1000))], slices) == []
    fewer = group([number for number in range(1000) if number != 555])
    (write,) = reconcile(web(), [fewer], slices)
    assert len(write.obj["endpoints"]) == 99
    slices = written(slices, [write])
    replaced = group([*(number for number in range(1000) if number != 555), 2000])
    (write,) = reconcile(web(), [replaced], slices)
    assert isinstance(write, Update)
    assert len(written(slices, [write])) == 10


def test_an_endpoint_that_changes_stays_in_its_slice():
    slices = settled(group(range(150)))
    changed = group(range(150))
    changed.endpoints[120]["conditions"] = {"ready": False}
    (write,) = reconcile(web(), [changed], slices)
    assert write.obj["metadata"]["name"] == slices[1]["metadata"]["name"]


def test_what_is_left_goes_into_the_fullest_slice_that_has_room():
    slices = settled(group(range(100))) + [
        each | {"metadata": {**each["metadata"], "name": f"other-{count}"}}
        for count, each in (
            (30, settled(group(range(200, 230)))[0]),
            (60, settled(group(range(300, 360)))[0]),
        )
    ]
    wanted = group([*range(100), *range(200, 230), *range(300, 360), *range(400, 410)])
    (write,) = reconcile(web(), [wanted], slices)
    assert write.obj["metadata"]["name"] == "other-60"


def test_other_ports_take_over_the_slice_of_those_that_go():
    slices = settled(group(range(3)))
    (write,) = reconcile(web(), [group(range(3), OTHER)], slices)
    assert isinstance(write, Update)
    assert write.obj["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


def test_a_service_without_endpoints_has_an_empty_slice_in_each_family():
    both = web() | {"spec": {**web()["spec"], "ipFamilies": ["IPv4", "IPv6"]}}
    writes = reconcile(both, [], [])
    assert [(type(write), write.obj["addressType"], write.obj["ports"]) for write in writes] == [
        (Create, "IPv4", []),
        (Create, "IPv6", []),
    ]
    empty = written([], writes)
    assert reconcile(both, [], empty) == []
    slices = written(empty, reconcile(both, [group([1])], empty))
    assert sorted(each["addressType"] for each in slices) == ["IPv4", "IPv6"]
    assert len(reconcile(web(), [group([1])], slices)) == 1, "the family that is gone"


def test_labels_of_the_service_are_on_all_slices():
    labelled = web(clusterIP="None")
    labelled["metadata"]["labels"] = {"team": "a", "kubernetes.io/service-name": "ignored"}
    slices = settled(group(range(150)))
    writes = reconcile(labelled, [group(range(150))], slices)
    assert len(writes) == 2
    assert writes[0].obj["metadata"]["labels"] == {
        "team": "a",
        "service.kubernetes.io/headless": "",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }


@pytest.mark.parametrize("gone", [range(0), range(40), range(99), range(250)])
def test_what_is_wanted_is_what_there_is(gone):
    slices = settled(group(range(250)), group(range(300, 320), OTHER))
    wanted = [group(n for n in range(260) if n not in gone), group(range(310, 330), OTHER)]
    after = written(slices, reconcile(web(), wanted, slices))
    expected = sorted(each["addresses"][0] for one in wanted for each in one.endpoints)
    assert addresses(after) == expected
    assert all(len(each["endpoints"]) <= 100 for each in after)


# --- from Pods ---


def pod(name: str, ip: str, *, ready: bool = True, ports=(), deleted: bool = False, **spec) -> Pod:
    meta = {"name": name, "namespace": "default", "uid": name}
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return typed(
        {
            "metadata": meta,
            "spec": {"containers": [{"name": "c", "ports": list(ports)}], "nodeName": "node-0", **spec},
            "status": {
                "phase": "Running",
                "podIP": ip,
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        },
        Pod,
    )


def found(made: dict, *pods: Pod):
    return endpoint_groups(typed(made, Service), pods, {"node-0": "a"})


def test_conditions_host_names_zones_and_hints():
    made = web(trafficDistribution="PreferSameNode")
    (one,) = groups_of(made, found(made, pod("p", "10.0.0.1", hostname="h", subdomain="web")))
    assert one.endpoints == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "hostname": "h",
            "nodeName": "node-0",
            "zone": "a",
            "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "node-0"}]},
            "targetRef": {"kind": "Pod", "name": "p", "namespace": "default", "uid": "p"},
        }
    ]


@pytest.mark.parametrize(
    ("ready", "deleted", "publish", "conditions"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (False, False, True, (True, False, False)),
    ],
)
def test_ready_serving_terminating(ready, deleted, publish, conditions):
    made = web(publishNotReadyAddresses=publish)
    (one,) = groups_of(made, found(made, pod("p", "10.0.0.1", ready=ready, deleted=deleted)))
    said = one.endpoints[0]["conditions"]
    assert (said["ready"], said["serving"], said["terminating"]) == conditions


def test_named_ports_and_application_protocols_make_groups():
    made = web(ports=[{"name": "http", "port": 80, "targetPort": "web", "appProtocol": "kubernetes.io/h2c"}])
    pods = [
        pod(name, f"10.0.0.{number}", ports=[{"name": "web", "containerPort": port}])
        for name, number, port in (("a", 1, 80), ("b", 2, 8080))
    ]
    groups = groups_of(made, found(made, *pods))
    assert [each.ports for each in groups] == [
        (("http", "TCP", 80, "kubernetes.io/h2c"),),
        (("http", "TCP", 8080, "kubernetes.io/h2c"),),
    ]


def test_endpoints_have_ready_and_other_addresses_and_no_terminating_ones():
    made = web()
    pods = [
        pod("a", "10.0.0.2"),
        pod("b", "10.0.0.1"),
        pod("c", "10.0.0.3", ready=False),
        pod("d", "10.0.0.4", deleted=True),
    ]
    (write,) = endpoints_of(made, found(made, *pods), None)
    (subset,) = write.obj["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1", "10.0.0.2"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert endpoints_of(made, found(made, *pods), write.obj) == []


def test_endpoints_are_cut_at_a_thousand():
    made = web()
    pods = [pod(str(n), f"10.0.{n // 250}.{n % 250 + 1}", ready=n >= 10) for n in range(1020)]
    (write,) = endpoints_of(made, found(made, *pods), None)
    (subset,) = write.obj["subsets"]
    assert len(subset["addresses"]) == 1000
    assert "notReadyAddresses" not in subset
    assert write.obj["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}
