"""Deployments to Pods, Pods to nodes."""

import pytest

from kcompile.errors import ConfigError, SpecError
from kcompile.lab import workloads
from kcompile.lab.network import default_nodes
from kcompile.lab.state import LabState, Stored


def deployment(replicas: int = 3, image: str = "nginx", name: str = "web", **pod: object) -> Stored:
    labels = {"app": name}
    return Stored(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "c", "image": image}], **pod},
                },
            },
        }
    )


def lab(*deployments: Stored, nodes: int = 2, dual_stack: bool = False) -> LabState:
    objects = {f"Deployment/shop/{d.manifest['metadata']['name']}": d for d in deployments}
    return LabState(
        name="x",
        mode="nftables",
        network="routes",
        domain="cluster.local",
        service_cidrs=["10.96.0.0/12"],
        created=0.0,
        nodes=default_nodes(nodes, dual_stack),
        objects=objects,
    )


def settle(state: LabState) -> None:
    make, remove = workloads.changes(state)
    for pod in make:
        workloads.schedule(state, pod)
        state.pods.append(pod)
    state.pods = [pod for pod in state.pods if pod not in remove]


def test_replicas_are_spread_over_the_nodes():
    state = lab(deployment(5))
    settle(state)
    assert sorted(pod.node for pod in state.pods) == ["node-a"] * 3 + ["node-b"] * 2
    assert len({ip for pod in state.pods for ip in pod.ips}) == 5
    assert all(
        pod.name.startswith("web-") and len(pod.name) == len("web-") + 10 + 1 + 5 for pod in state.pods
    )
    assert workloads.changes(state) == ([], [])


def test_the_unready_and_the_newest_go_first():
    state = lab(deployment(3))
    settle(state)
    for number, pod in enumerate(state.pods):
        pod.created, pod.ready = float(number), number != 0
    state.objects["Deployment/shop/web"].manifest["spec"]["replicas"] = 1
    removed = workloads.changes(state).remove
    assert [pod.created for pod in removed] == [0.0, 2.0]


def test_a_changed_template_replaces_every_pod():
    state = lab(deployment())
    settle(state)
    before = list(state.pods)
    state.objects["Deployment/shop/web"] = deployment(image="nginx:2")
    make, remove = workloads.changes(state)
    assert (len(make), remove) == (3, before)


def test_replicas_may_be_left_out():
    one = deployment()
    del one.manifest["spec"]["replicas"]
    assert len(workloads.changes(lab(one)).make) == 1


def test_addresses_are_not_used_again_soon():
    state = lab(deployment(1), nodes=1)
    settle(state)
    seen = []
    for _ in range(20):
        seen += state.pods[0].ips
        state.pods[0].hash = ""
        settle(state)
    assert len(set(seen)) == 20


def test_a_small_range_wraps_and_ends():
    state = lab(deployment(5), nodes=1)
    state.nodes[0].pod_cidrs = ["10.9.0.0/29"]  # of its eight, the first two and the last are out
    settle(state)
    assert sorted(pod.ips[0] for pod in state.pods) == [f"10.9.0.{n}" for n in range(2, 7)]
    state.pods.pop()
    settle(state)
    state.objects["Deployment/shop/web"].manifest["spec"]["replicas"] = 6
    with pytest.raises(ConfigError, match=r"node node-a: no address is left in 10\.9\.0\.0/29"):
        settle(state)


def test_both_families_get_the_same_number():
    state = lab(deployment(2), nodes=1, dual_stack=True)
    settle(state)
    assert [pod.ips for pod in state.pods] == [
        ["10.244.0.2", "fd00:10:244::2"],
        ["10.244.0.3", "fd00:10:244::3"],
    ]


def test_node_names_and_selectors():
    state = lab(
        deployment(2, nodeName="node-b"),
        deployment(2, name="disk", nodeSelector={"kubernetes.io/hostname": "node-a"}),
    )
    settle(state)
    assert {(pod.owner, pod.node) for pod in state.pods} == {("shop/web", "node-b"), ("shop/disk", "node-a")}
    with pytest.raises(
        ConfigError, match="no node has its nodeName or nodeSelector; there are node-a, node-b"
    ):
        settle(lab(deployment(1, nodeName="node-z")))


def test_pods_that_a_cluster_reported_are_its_deployments_own():
    state = lab(deployment())
    for name, labels in (
        ("web-1-abc", {"app": "web", "x": "y"}),
        ("alone", {"app": "other"}),
        ("bare", None),
    ):
        state.objects[f"Pod/shop/{name}"] = Stored(
            {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {}}
        )
    assert workloads.reported(state.objects) == {"Pod/shop/web-1-abc"}


def test_a_bad_manifest_is_named():
    bad = deployment()
    bad.source, bad.document = "web.yaml", 2
    bad.manifest["spec"]["template"]["spec"]["containers"][0]["args"] = "one"
    with pytest.raises(SpecError) as error:
        workloads.changes(lab(bad))
    assert str(error.value).startswith(
        "web.yaml: document 2: Deployment shop/web: spec.template.spec.containers[0].args: must be a list"
    )
