"""What is said of input that is read and yet isn't what its author may think."""

from __future__ import annotations

import time

import pytest

from kcompile.spec.complete import complete
from kcompile.spec.endpointless import without_endpoints
from kcompile.spec.noeffect import without_effect
from kcompile.spec.objects import Origin
from kcompile.spec.skipped import skipped_notices

from .make import endpoint, inventory, pod, service, slice_of


def workload(kind, name="web", version="apps/v1", namespace="demo", **labels):
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
    }


def thing(kind, name="x", version="v1"):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


def reasons(*manifests):
    """What is said of Services without endpoints, less where and of whom."""
    found = inventory(*manifests)
    complete(found)
    return [notice.text.removeprefix("no endpoint: ") for notice in without_endpoints(found)]


def selecting(name="web", labels=None, **spec):
    return service(name, selector=labels or {"app": "web"}, **spec)


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("ReplicaSet", "apps/v1"),
        ("Job", "batch/v1"),
        ("StatefulSet", "apps/v1beta1"),
        ("DaemonSet", "extensions/v1beta1"),
    ],
)
def test_the_workload_whose_pods_are_missing_is_named(kind, version):
    found = inventory(selecting(), workload(kind, "front", version, app="web", tier="front"))
    complete(found)
    (notice,) = without_endpoints(found)
    assert (notice.id, notice.source, notice.object) == ("no-endpoints", "test.json", "Service demo/web")
    assert notice.text == f"no endpoint: the Pods of {kind} front are not in the input"
    assert found.skipped == []


def test_several_workloads_are_counted():
    assert reasons(selecting(), *(workload("Deployment", name, app="web") for name in ("a", "b", "c"))) == [
        "the Pods of Deployment a and 2 others are not in the input"
    ]


@pytest.mark.parametrize(
    ("selector", "labels", "said"),
    [
        ({"app": "web"}, {"app": "webb"}, "it selects app=web; Deployment web has app=webb"),
        ({"app": "web"}, {"app": "database"}, "nothing in the input has the labels app=web"),
        ({"app": "web"}, {"k8s-app": "web"}, "nothing in the input has the labels app=web"),
        (
            {"app": "web", "tier": "frontend"},
            {"app": "web", "tier": "front-end"},
            "it selects tier=frontend; Deployment web has tier=front-end",
        ),
        (
            {"app": "web", "tier": "front"},
            {"app": "web"},
            "it selects tier=front; Deployment web has no tier",
        ),
        (
            {"component": "alertmanager", "part-of": "stack"},
            {"component": "blackbox", "part-of": "stack"},
            "nothing in the input has the labels component=alertmanager,part-of=stack",
        ),
    ],
)
def test_labels_that_are_nearly_right(selector, labels, said):
    assert reasons(selecting(labels=selector), workload("Deployment", **labels)) == [said]


def test_the_nearest_is_named():
    others = [workload("Deployment", name, app=name) for name in ("wed-server", "web-servers", "server")]
    assert reasons(selecting(labels={"app": "web-server"}), *others) == [
        "it selects app=web-server; Deployment web-servers has app=web-servers"
    ]


def test_the_right_labels_in_another_namespace():
    assert reasons(selecting(), workload("Deployment", namespace="prod", app="web")) == [
        "it selects app=web in namespace demo; Deployment web is in prod"
    ]


def test_a_pod_without_an_address():
    assert reasons(selecting(), pod(ip=[])) == [
        "Pod web-0 that it selects has no address of its IP families, or ended"
    ]


def test_an_empty_slice_of_the_cluster():
    assert reasons(selecting(), slice_of()) == [
        "its EndpointSlice web-1 is empty; nothing in the input has the labels app=web"
    ]


def test_a_named_port_that_no_pod_has():
    port = {"name": "http", "port": 80, "targetPort": "web"}
    found = inventory(selecting(ports=[port]), pod(ports=[{"name": "http", "containerPort": 8080}]))
    complete(found)
    (notice,) = without_endpoints(found)
    assert str(notice) == (
        "test.json: Service demo/web: spec.ports[0].targetPort: no endpoint: "
        "no Pod that it selects has a port named web"
    )


def test_services_that_need_no_word():
    assert reasons(selecting(), pod()) == []
    assert reasons(selecting(), slice_of(endpoint())) == []
    assert reasons(service()) == []
    assert reasons(selecting(type="ExternalName", externalName="x.example.com")) == []


def test_a_label_cannot_write_to_the_terminal():
    (said,) = reasons(selecting(), workload("StatefulSet", app="web\x1b[2J"))
    assert said.isprintable()


def test_thousands_of_near_misses_end_soon():
    services = [selecting(f"s{i}", {"app": f"service-number-{i}"}) for i in range(1000)]
    others = [workload("Deployment", f"d{i}", app=f"service-namber-{i}") for i in range(1000)]
    found = inventory(*services, *others)
    started = time.process_time()
    assert len(without_endpoints(found)) == 1000
    assert time.process_time() - started < 5


def test_what_is_skipped_is_counted_by_kind():
    found = inventory(
        thing("ConfigMap", "a"),
        thing("ConfigMap", "b"),
        thing("Role", version="rbac.authorization.k8s.io/v1"),
        thing("Certificate", version="cert-manager.io/v1"),
    )
    assert [str(notice) for notice in skipped_notices(found.skipped)] == [
        (
            "test.json: skipped 4 objects of kinds that are not used here: "
            "2 ConfigMap, 1 Certificate.cert-manager.io, 1 Role"
        )
    ]
    assert [str(notice) for notice in skipped_notices(found.skipped, each=True)][:2] == [
        "test.json: ConfigMap a: skipped: not a kind that is used here",
        "test.json: ConfigMap b: skipped: not a kind that is used here",
    ]
    (one,) = skipped_notices(found.skipped[:1])
    assert one.text == "skipped 1 object of kinds that are not used here: 1 ConfigMap"


def test_many_files_of_a_directory_are_one_line():
    found = inventory(
        *(thing("ConfigMap", f"c{i}") for i in range(4)),
        thing("Role", version="rbac.authorization.k8s.io/v1"),
    )
    many = [one._replace(origin=Origin(f"dir/{i}.yaml", 1)) for i, one in enumerate(found.skipped)]
    few = [one._replace(origin=Origin(f"other/{i}.yaml", 1)) for i, one in enumerate(found.skipped[:3])]
    assert [str(notice) for notice in skipped_notices([*many, *few])] == [
        "dir: skipped 5 objects of kinds that are not used here, in 5 files: 4 ConfigMap, 1 Role",
        *(f"other/{i}.yaml: skipped 1 object of kinds that are not used here: 1 ConfigMap" for i in range(3)),
    ]


def effects(*manifests):
    found = inventory(*manifests)
    complete(found)
    return [str(notice) for notice in without_effect(found)]


def test_fields_without_effect_are_said_once():
    lb = {"type": "LoadBalancer", "loadBalancerIP": "192.0.2.1"}
    mode = {"service.kubernetes.io/topology-mode": "Auto"}
    said = effects(*(service(name, annotations=mode, **lb) for name in ("a", "b", "c")))
    assert said == [
        (
            "test.json: Service demo/a: spec.loadBalancerIP: no effect here: no load balancer "
            "gives the address; status.loadBalancer.ingress counts (2 more Services likewise)"
        ),
        (
            "test.json: Service demo/a: metadata.annotations[service.kubernetes.io/topology-mode]: no effect "
            "here: no controller gives the hints; spec.trafficDistribution counts (2 more Services likewise)"
        ),
    ]


def test_fields_that_a_cluster_has_acted_on_need_no_word():
    given = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert effects(service(type="LoadBalancer", loadBalancerIP="192.0.2.1", status=given)) == []
    mode = {"service.kubernetes.io/topology-mode": "Auto"}
    assert effects(service(annotations=mode), slice_of(endpoint())) == []
    assert effects(service(annotations={"service.kubernetes.io/topology-mode": "Disabled"})) == []
