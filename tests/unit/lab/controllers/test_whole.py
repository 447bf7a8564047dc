"""All controllers over one store, with a stand-in for the kubelets: what a user sees of a cluster."""

import asyncio
import functools
import time

import pytest

from harness.controllers import cluster, node, service, workload
from kcompile.lab.controllers.pods import node_name


def runs(scenario):
    """A test that runs in an event loop."""

    @functools.wraps(scenario)
    def test(*arguments, **named):
        asyncio.run(asyncio.wait_for(scenario(*arguments, **named), 60))

    return test


def image(name: str) -> dict:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


@runs
async def test_a_rolling_update_keeps_its_bounds_at_every_step():
    async with cluster(3) as c:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
        c.client.create(workload("Deployment", "web", replicas=5, strategy=rolling))
        await c.rolled_out("web")
        ready: set[int] = set()
        sizes: set[int] = set()

        def changed(*_):
            ready.add(len(c.ready_pods()))
            sizes.add(sum(each["spec"]["replicas"] for each in c.all("ReplicaSet")))

        stop = c.client.watch(["Pod", "ReplicaSet"], changed)
        c.change("Deployment", "web", image("b"))
        await c.rolled_out("web")
        stop()
        assert min(ready) >= 4
        assert max(sizes) <= 6
        assert {pod["spec"]["containers"][0]["image"] for pod in c.ready_pods()} == {"b"}
        old, new = sorted(c.all("ReplicaSet"), key=lambda each: each["spec"]["replicas"])
        assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 5)
        progressing = c.get("Deployment", "web")["status"]["conditions"][1]
        assert progressing["reason"] == "NewReplicaSetAvailable"


@runs
async def test_a_rollback_gives_the_old_replica_set_the_next_revision():
    async with cluster() as c:
        c.client.create(workload("Deployment", "web", replicas=2))
        await c.rolled_out("web")
        first = c.all("ReplicaSet")[0]["metadata"]["name"]
        for name in ("b", "a"):
            c.change("Deployment", "web", image(name))
            await c.rolled_out("web")
        notes = c.get("ReplicaSet", first)["metadata"]["annotations"]
        assert notes["deployment.kubernetes.io/revision"] == "3"
        assert notes["deployment.kubernetes.io/revision-history"] == "1"
        assert (
            c.get("Deployment", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        )
        assert len(c.all("ReplicaSet")) == 2


@runs
async def test_recreate_has_no_two_versions_at_once():
    async with cluster() as c:
        c.client.create(workload("Deployment", "web", replicas=3, strategy={"type": "Recreate"}))
        await c.rolled_out("web")
        seen = set()

        def changed(*_):
            seen.add(frozenset(pod["spec"]["containers"][0]["image"] for pod in c.all("Pod")))

        c.client.watch(["Pod"], changed)
        c.change("Deployment", "web", image("b"))
        await c.rolled_out("web")
        assert frozenset("ab") not in seen
        c.client.delete("Deployment", "default", "web", propagation="Orphan")
        c.client.create(workload("Deployment", "other", replicas=1, strategy={"type": "Recreate"}))
        await c.rolled_out("other")  # whatever Pods an orphan has


@runs
async def test_a_paused_deployment_scales_but_doesnt_roll():
    async with cluster() as c:
        c.client.create(workload("Deployment", "web", replicas=2))
        await c.rolled_out("web")
        c.change("Deployment", "web", {"spec": {"paused": True}})
        c.change("Deployment", "web", image("b"))
        c.change("Deployment", "web", {"spec": {"replicas": 3}})
        await c.until(lambda: len(c.ready_pods()) == 3)
        assert {pod["spec"]["containers"][0]["image"] for pod in c.ready_pods()} == {"a"}
        reasons = [each["reason"] for each in c.get("Deployment", "web")["status"]["conditions"]]
        assert "DeploymentPaused" in reasons
        c.change("Deployment", "web", {"spec": {"paused": False}})
        await c.rolled_out("web")
        assert {pod["spec"]["containers"][0]["image"] for pod in c.ready_pods()} == {"b"}


@runs
async def test_a_rollout_that_doesnt_progress_says_so():
    async with cluster() as c:
        c.kubelets.ready_after = lambda _: None
        c.client.create(workload("Deployment", "web", replicas=1, progressDeadlineSeconds=1))

        def failed():
            conditions = c.get("Deployment", "web")["status"].get("conditions", ())
            return any(each["reason"] == "ProgressDeadlineExceeded" for each in conditions)

        await c.until(failed)


@runs
async def test_old_replica_sets_are_kept_to_the_limit():
    async with cluster() as c:
        c.client.create(workload("Deployment", "web", replicas=1, revisionHistoryLimit=1))
        await c.rolled_out("web")
        for name in "bcd":
            c.change("Deployment", "web", image(name))
            await c.rolled_out("web")
        await c.until(lambda: len(c.all("ReplicaSet")) == 2)


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_deletion_by_propagation(propagation: str):
    @runs
    async def scenario():
        async with cluster() as c:
            c.client.create(workload("Deployment", "web", replicas=2))
            await c.rolled_out("web")
            order = []
            c.client.watch(
                ["Deployment", "ReplicaSet", "Pod"],
                lambda kind, _, new: order.append(kind) if new is None else None,
            )
            c.client.delete("Deployment", "default", "web", propagation=propagation)
            if propagation == "Orphan":
                await c.until(lambda: order == ["Deployment"])
                assert "ownerReferences" not in c.all("ReplicaSet")[0]["metadata"]
                c.client.create(workload("Deployment", "web", replicas=2))
                await c.rolled_out("web")
                assert len(c.all("ReplicaSet")) == 1  # adopted again
                assert "Pod" not in order
                return
            await c.until(lambda: not c.all("Deployment") and not c.all("ReplicaSet") and not c.all("Pod"))
            await asyncio.sleep(0)
            expected = ["Deployment", "ReplicaSet", "Pod"]
            first = list(dict.fromkeys(order))
            assert first == (expected if propagation == "Background" else expected[::-1])

    scenario()


@runs
async def test_a_namespace_goes_when_it_is_empty():
    async with cluster(ca_certificate="PEM") as c:
        c.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        root = await c.until(lambda: c.client.get("ConfigMap", "shop", "kube-root-ca.crt"))
        assert root["data"] == {"ca.crt": "PEM"}
        made = workload("Deployment", "web", replicas=2)
        made["metadata"]["namespace"] = "shop"
        c.client.create(made)
        await c.until(lambda: len(c.ready_pods()) == 2)
        c.client.delete("Namespace", "", "shop")
        assert c.get("Namespace", "shop", "")["status"]["phase"] == "Terminating"
        await c.until(lambda: c.client.get("Namespace", "", "shop") is None)
        assert not c.all("Pod")


@runs
async def test_a_drained_node_gets_no_pods_and_the_others_stay_available():
    async with cluster(3) as c:
        c.client.create(workload("Deployment", "web", replicas=3))
        await c.rolled_out("web")
        c.client.store.patch("Node", "", "node-1", {"spec": {"unschedulable": True}})
        for pod in list(c.all("Pod")):
            if pod["spec"]["nodeName"] == "node-1":
                c.client.delete("Pod", "default", pod["metadata"]["name"])
        await c.until(lambda: len(c.ready_pods()) == 3)
        assert {pod["spec"]["nodeName"] for pod in c.ready_pods()} == {"node-0", "node-2"}
        taints = c.get("Node", "node-1", "")["spec"]["taints"]
        assert taints == [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
        c.client.store.patch("Node", "", "node-1", {"spec": {"unschedulable": None}})
        await c.until(lambda: not c.get("Node", "node-1", "")["spec"].get("taints"))


@runs
async def test_pods_leave_a_node_whose_kubelet_is_gone():
    async with cluster(2, eviction_seconds=0.05) as c:
        c.client.create(workload("Deployment", "web", replicas=4))
        await c.rolled_out("web")
        gone = c.get("Node", "node-0", "")
        status = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}
        c.client.update_status({**gone, "status": status})
        await c.until(lambda: len([p for p in c.ready_pods() if p["spec"]["nodeName"] == "node-1"]) == 4)
        assert c.ready_pods() == [p for p in c.ready_pods() if p["spec"]["nodeName"] == "node-1"]
        c.client.delete("Node", "", "node-0")
        await c.until(lambda: {p["spec"]["nodeName"] for p in c.all("Pod")} == {"node-1"})


@runs
async def test_a_pod_that_fits_nowhere_waits_for_a_node():
    async with cluster(1) as c:
        c.client.create(workload("Deployment", "web", replicas=1, pod={"nodeSelector": {"disk": "ssd"}}))

        def waiting():
            pods = c.all("Pod")
            return pods and pods[0]["status"].get("conditions")

        condition = (await c.until(waiting))[0]
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert condition["message"].startswith(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        )
        c.client.store.patch("Node", "", "node-0", {"metadata": {"labels": {"disk": "ssd"}}})
        await c.rolled_out("web")


@runs
async def test_pods_that_repel_each_other_take_a_node_each():
    async with cluster(3) as c:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
        affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        c.client.create(workload("Deployment", "web", replicas=4, pod={"affinity": affinity}))
        await c.until(lambda: len(c.ready_pods()) == 3)
        assert len({pod["spec"]["nodeName"] for pod in c.ready_pods()}) == 3
        c.client.create(node("node-3"))
        await c.rolled_out("web")


@runs
async def test_a_pod_waits_for_those_that_it_wants_to_be_with():
    async with cluster(2) as c:
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
        affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        c.client.create(workload("Deployment", "web", replicas=2, pod={"affinity": affinity}))
        await c.until(lambda: [e for e in c.all("Event") if e["reason"] == "FailedScheduling"])
        c.client.create(workload("Deployment", "db", replicas=1))
        await c.rolled_out("web")
        assert len({pod["spec"]["nodeName"] for pod in c.ready_pods()}) == 1


@runs
async def test_pods_become_endpoints_in_few_writes_and_little_time():
    async with cluster(30) as c:
        c.client.create(service("web"))
        await c.until(lambda: c.all("EndpointSlice"))
        writes = []
        c.client.watch(["EndpointSlice"], lambda _, old, __: writes.append(old))
        began, version = time.process_time(), c.client.store.version
        c.client.create(workload("Deployment", "web", replicas=300))

        def ready():
            endpoints = [each for found in c.all("EndpointSlice") for each in found.get("endpoints", ())]
            return sum(each["conditions"]["ready"] for each in endpoints)

        await c.until(lambda: ready() == 300)
        assert time.process_time() - began < 5
        assert c.client.store.version - version < 2500
        assert {c.client.count("Pod", node_name, f"node-{number}") for number in range(30)} == {10}
        assert 3 <= len(c.all("EndpointSlice")) <= 6
        assert len(writes) < 300  # fewer than pods, also where load spreads their moments
        assert len(c.get("Endpoints", "web")["subsets"][0]["addresses"]) > 100
        await asyncio.sleep(0.1)
        writes.clear()
        name = c.ready_pods()[200]["metadata"]["name"]
        c.kubelets.ready_after = lambda _: None
        c.client.delete("Pod", "default", name)
        await c.until(lambda: ready() == 299)
        await asyncio.sleep(0.1)
        assert 1 <= len(writes) <= 2  # terminating, gone


@runs
async def test_endpoints_made_by_hand_are_mirrored():
    async with cluster(1) as c:
        made = service("db")
        del made["spec"]["selector"]
        c.client.create(made)
        subset = {"addresses": [{"ip": "10.9.0.1"}], "ports": [{"port": 5432}]}
        endpoints = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "db", "namespace": "default"},
        }
        c.client.create(endpoints | {"subsets": [subset]})
        (found,) = await c.until(lambda: c.all("EndpointSlice"))
        assert found["ports"] == [{"name": "", "protocol": "TCP", "port": 5432}]
        subset["addresses"].append({"ip": "10.9.0.2"})
        c.client.update(endpoints | {"subsets": [subset]})
        await c.until(lambda: len(c.all("EndpointSlice")[0]["endpoints"]) == 2)
        c.change("Service", "db", {"spec": {"selector": {"app": "db"}}})
        await c.until(lambda: not c.all("EndpointSlice")[0].get("endpoints"))
        c.client.delete("Service", "default", "db")
        await c.until(lambda: not c.all("EndpointSlice") and not c.all("Endpoints"))


@runs
async def test_load_balancer_addresses_are_given_and_taken_back():
    async with cluster(load_balancer_pools=("192.0.2.0/30",)) as c:
        for name in ("a", "b", "c"):
            c.client.create(service(name, type="LoadBalancer"))
        c.client.create(service("other", type="LoadBalancer", loadBalancerClass="example.com/lb"))

        def addresses():
            services = {s["metadata"]["name"]: s["status"]["loadBalancer"] for s in c.all("Service")}
            return {name: found["ingress"][0]["ip"] for name, found in services.items() if found}

        await c.until(lambda: len(addresses()) == 2)
        assert addresses() == {"a": "192.0.2.1", "b": "192.0.2.2"}
        await c.until(lambda: [e for e in c.all("Event") if e["reason"] == "SyncLoadBalancerFailed"])
        c.client.delete("Service", "default", "a")
        await c.until(lambda: addresses() == {"b": "192.0.2.2", "c": "192.0.2.1"})
        c.change("Service", "b", {"spec": {"type": "ClusterIP"}})
        await c.until(lambda: "b" not in addresses())


@runs
async def test_the_service_of_the_api_server():
    async with cluster(api_endpoints=(("10.0.0.1", 6443),)) as c:
        made = await c.until(lambda: c.client.get("EndpointSlice", "default", "kubernetes"))
        assert made["endpoints"][0]["addresses"] == ["10.0.0.1"]
        assert made["ports"] == [{"name": "https", "port": 6443, "protocol": "TCP"}]
        assert c.get("Endpoints", "kubernetes")["subsets"][0]["addresses"] == [{"ip": "10.0.0.1"}]
        c.client.delete("Service", "default", "kubernetes")
        await c.until(lambda: c.client.get("Service", "default", "kubernetes"))


@runs
async def test_an_object_that_no_controller_can_read_stops_nobody(caplog):
    async with cluster() as c:
        broken = workload("Deployment", "broken")
        broken["spec"]["selector"] = {"matchExpressions": [{"key": "a", "operator": "Wrong"}]}
        broken["metadata"] |= {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        c.client.store.put(broken)
        c.client.create(workload("Deployment", "web", replicas=1))
        await c.rolled_out("web")
        assert "deployment-controller: default/broken failed; again in" in caplog.text
