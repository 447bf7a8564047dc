"""Whatever is done to a cluster, and whenever: in the end it is what its objects say, and nothing is left."""

import asyncio
import contextlib
import random

import pytest

from harness.controllers import Cluster, cluster, service, workload
from kcompile.apiserver import StatusError
from unit.lab.controllers.test_whole import image, runs

KINDS = ("Deployment", "StatefulSet", "DaemonSet")
STRATEGIES = (
    {"type": "Recreate"},
    {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}},
)
NODES = 4


def made(r: random.Random, kind: str, name: str) -> dict:
    spec = {} if kind == "DaemonSet" else {"replicas": r.randrange(5)}
    if kind == "Deployment":
        spec["strategy"] = r.choice(STRATEGIES)
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": r.choice(["Parallel", "OrderedReady"])}
    return workload(kind, name, image=r.choice("abc"), **spec)


def step(c: Cluster, r: random.Random) -> None:
    """One thing that a user does."""
    kind = r.choice(KINDS)
    name = f"{kind.lower()}-{r.randrange(2)}"
    match r.choice(["create", "create", "scale", "image", "delete", "pod", "cordon", "service"]):
        case "create":
            c.client.create(made(r, kind, name))
        case "scale":
            if kind != "DaemonSet":
                c.change(kind, name, {"spec": {"replicas": r.randrange(6)}})
        case "image":
            c.change(kind, name, image(r.choice("abc")))
        case "delete":
            policies = ["Background", "Foreground", *(["Orphan"] if kind == "Deployment" else [])]
            c.client.delete(kind, "default", name, propagation=r.choice(policies))
        case "pod":
            if pods := c.all("Pod"):
                c.client.delete("Pod", "default", r.choice(pods)["metadata"]["name"])
        case "cordon":
            cordoned = {"spec": {"unschedulable": r.choice([True, None])}}
            c.client.store.patch("Node", "", f"node-{r.randrange(1, NODES)}", cordoned)
        case "service":
            if c.client.get("Service", "default", name):
                c.client.delete("Service", "default", name)
            else:
                c.client.create(service(name))


async def quiet(c: Cluster) -> None:
    """Until nothing has been written for a while."""
    version = -1
    async with asyncio.timeout(40):
        while version != c.client.store.version:
            version = c.client.store.version
            await asyncio.sleep(0.5)


def pods_of(c: Cluster, name: str) -> list[dict]:
    return [pod for pod in c.all("Pod") if pod["metadata"]["labels"]["app"] == name]


def check_workloads(c: Cluster) -> None:
    for kind in KINDS:
        for each in c.all(kind):
            pods = pods_of(c, each["metadata"]["name"])
            wanted = NODES if kind == "DaemonSet" else each["spec"]["replicas"]
            images = {pod["spec"]["containers"][0]["image"] for pod in pods}
            assert len(pods) == wanted
            assert images <= {each["spec"]["template"]["spec"]["containers"][0]["image"]}
            ready = "numberReady" if kind == "DaemonSet" else "readyReplicas"
            assert each["status"].get(ready, 0) == wanted
    assert not any("deletionTimestamp" in pod["metadata"] for pod in c.all("Pod"))


def check_owners(c: Cluster) -> None:
    there = {each["metadata"]["uid"] for kind in (*KINDS, "ReplicaSet", "Service") for each in c.all(kind)}
    for kind in ("Pod", "ReplicaSet", "ControllerRevision", "EndpointSlice"):
        for each in c.all(kind):
            owners = {owner["uid"] for owner in each["metadata"].get("ownerReferences", ())}
            assert owners <= there, f"{kind} {each['metadata']['name']} is left over"


def check_endpoints(c: Cluster) -> None:
    for each in c.all("Service"):
        name = each["metadata"]["name"]
        slices = [s for s in c.all("EndpointSlice") if s["metadata"]["generateName"] == f"{name}-"]
        found = [endpoint["addresses"][0] for s in slices for endpoint in s.get("endpoints", ())]
        assert sorted(found) == sorted(pod["status"]["podIP"] for pod in pods_of(c, name))
        subsets = c.get("Endpoints", name).get("subsets", ())
        assert sorted(a["ip"] for subset in subsets for a in subset["addresses"]) == sorted(found)


@pytest.mark.parametrize("seed", [3, 27, 34])
def test_what_is_asked_for_is_there_in_the_end(seed: int):
    @runs
    async def scenario():
        r = random.Random(seed)
        async with cluster(NODES, delay=0.01) as c:
            for _ in range(60):
                with contextlib.suppress(StatusError):  # not there, or there already
                    step(c, r)
                await asyncio.sleep(r.choice([0, 0, 0.005, 0.03]))
            for number in range(NODES):
                c.client.store.patch("Node", "", f"node-{number}", {"spec": {"unschedulable": None}})
            await quiet(c)
            assert c.client.store.version < 5000, "controllers that undo each other's writes"
            check_workloads(c)
            check_owners(c)
            check_endpoints(c)

    scenario()
