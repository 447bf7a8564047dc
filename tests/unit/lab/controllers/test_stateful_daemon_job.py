"""StatefulSets, DaemonSets and Jobs, with all controllers and a stand-in for the kubelets."""

import asyncio

from harness.controllers import cluster, workload
from unit.lab.controllers.test_whole import image, runs


def names(pods) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods)


def images(pods) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in pods}


def follow(c, kind: str, what) -> list:
    """What `what` returns after each change, without repetitions."""
    seen: list = []

    def changed(*_):
        now = what()
        if not seen or seen[-1] != now:
            seen.append(now)

    c.client.watch([kind], changed)
    return seen


def job(name: str = "sum", **spec) -> dict:
    made = workload("Job", name, pod={"restartPolicy": "Never"}, **spec)
    del made["spec"]["selector"]
    return made | {"apiVersion": "batch/v1"}


@runs
async def test_a_stateful_set_starts_and_stops_in_order():
    async with cluster() as c:
        c.client.create(workload("StatefulSet", "db", replicas=3, serviceName="db"))
        born: list[str] = []
        gone: list[str] = []
        ready: list[int] = []

        def changed(_, old, new):
            pod = new or old
            if old is None:
                ready.append(len(c.ready_pods()))
                born.append(pod["metadata"]["name"])
            if new is None:
                gone.append(pod["metadata"]["name"])

        c.client.watch(["Pod"], changed)
        await c.until(lambda: c.get("StatefulSet", "db")["status"].get("readyReplicas") == 3)
        assert (born, ready) == (["db-0", "db-1", "db-2"], [0, 1, 2])
        pod = c.get("Pod", "db-1")
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
        labels = pod["metadata"]["labels"]
        assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert labels["apps.kubernetes.io/pod-index"] == "1"
        c.change("StatefulSet", "db", {"spec": {"replicas": 1}})
        await c.until(lambda: gone == ["db-2", "db-1"])
        c.client.delete("Pod", "default", "db-0")
        await c.until(lambda: born[-1] == "db-0" and len(c.ready_pods()) == 1)


@runs
async def test_a_stateful_set_rolls_from_the_highest_ordinal_down_to_its_partition():
    async with cluster() as c:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        c.client.create(workload("StatefulSet", "db", replicas=3, serviceName="db", updateStrategy=strategy))
        await c.until(lambda: len(c.ready_pods()) == 3)
        ready = follow(c, "Pod", lambda: len(c.ready_pods()))
        c.change("StatefulSet", "db", image("b"))
        await c.until(lambda: images(c.ready_pods()) == {"db-0": "a", "db-1": "b", "db-2": "b"})
        assert min(ready) == 2
        c.client.delete("Pod", "default", "db-0")
        await c.until(lambda: images(c.ready_pods()) == {"db-0": "a", "db-1": "b", "db-2": "b"})
        strategy["rollingUpdate"]["partition"] = 0
        c.change("StatefulSet", "db", {"spec": {"updateStrategy": strategy}})
        await c.until(lambda: images(c.ready_pods()) == {"db-0": "b", "db-1": "b", "db-2": "b"})

        def settled():
            status = c.get("StatefulSet", "db")["status"]
            return status["currentRevision"] == status["updateRevision"] and status["updatedReplicas"] == 3

        await c.until(settled)
        assert [each["revision"] for each in c.all("ControllerRevision")] == [1, 2]


@runs
async def test_a_parallel_stateful_set_doesnt_wait():
    async with cluster() as c:
        c.kubelets.ready_after = lambda _: None
        c.client.create(workload("StatefulSet", "db", replicas=3, podManagementPolicy="Parallel"))
        await c.until(lambda: names(c.all("Pod")) == ["db-0", "db-1", "db-2"])
        c.change("StatefulSet", "db", {"spec": {"replicas": 0}})
        await c.until(lambda: not c.all("Pod"))


@runs
async def test_claims_of_a_stateful_set_become_volumes():
    async with cluster() as c:
        claims = [{"metadata": {"name": "data"}, "spec": {}}]
        c.client.create(workload("StatefulSet", "db", replicas=1, volumeClaimTemplates=claims))
        await c.until(lambda: c.ready_pods())
        volumes = c.get("Pod", "db-0")["spec"]["volumes"]
        assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}} in volumes


@runs
async def test_a_daemon_set_has_a_pod_on_each_node_that_fits():
    async with cluster(3) as c:
        c.client.store.patch("Node", "", "node-2", {"metadata": {"labels": {"role": "edge"}}})
        taint = {"key": "own", "effect": "NoSchedule"}
        c.client.store.patch("Node", "", "node-1", {"spec": {"taints": [taint], "unschedulable": True}})
        c.client.create(workload("DaemonSet", "agent"))

        def places():
            return sorted(pod["spec"]["nodeName"] for pod in c.ready_pods())

        await c.until(lambda: places() == ["node-0", "node-2"])
        c.client.store.patch("Node", "", "node-1", {"spec": {"taints": None}})  # still cordoned
        await c.until(lambda: places() == ["node-0", "node-1", "node-2"])
        c.change("DaemonSet", "agent", {"spec": {"template": {"spec": {"nodeSelector": {"role": "edge"}}}}})
        await c.until(lambda: places() == ["node-2"])
        status = c.get("DaemonSet", "agent")["status"]
        await c.until(lambda: c.get("DaemonSet", "agent")["status"]["desiredNumberScheduled"] == 1)
        assert status["observedGeneration"] >= 1


@runs
async def test_a_daemon_set_rolls_one_node_at_a_time():
    async with cluster(3) as c:
        c.client.create(workload("DaemonSet", "agent"))
        await c.until(lambda: len(c.ready_pods()) == 3)
        ready = follow(c, "Pod", lambda: len(c.ready_pods()))
        c.change("DaemonSet", "agent", image("b"))
        await c.until(lambda: set(images(c.ready_pods()).values()) == {"b"} and len(c.ready_pods()) == 3)
        assert min(ready) == 2

        def rolled_out():
            status = c.get("DaemonSet", "agent")["status"]
            return status.get("updatedNumberScheduled") == status.get("numberAvailable") == 3

        await c.until(rolled_out)


@runs
async def test_a_job_runs_until_enough_pods_have_succeeded():
    async with cluster() as c:
        c.client.create(job(completions=3, parallelism=2))
        active = follow(c, "Pod", lambda: sum(pod["status"]["phase"] != "Succeeded" for pod in c.all("Pod")))
        for _ in range(3):
            pod = (await c.until(c.ready_pods))[0]
            c.kubelets.ends(pod, "Succeeded")

        def complete():
            status = c.get("Job", "sum")["status"]
            return "completionTime" in status and status

        status = await c.until(complete)
        assert status["succeeded"] == 3
        assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
        assert max(active) == 2
        await asyncio.sleep(0.05)
        assert len(c.all("Pod")) == 3


@runs
async def test_a_job_gives_up_after_its_limit_of_failures():
    async with cluster() as c:
        c.client.create(job(backoffLimit=0, ttlSecondsAfterFinished=0))
        seen = follow(c, "Job", lambda: [each.get("status", {}).get("conditions") for each in c.all("Job")])
        c.kubelets.ends((await c.until(c.ready_pods))[0], "Failed")
        await c.until(lambda: not c.all("Job") and not c.all("Pod"))
        reasons = [each["reason"] for state in seen if state and state[0] for each in state[0]]
        assert "BackoffLimitExceeded" in reasons


@runs
async def test_an_indexed_job_gives_each_pod_its_number():
    async with cluster() as c:
        c.client.create(job(completions=3, parallelism=3, completionMode="Indexed"))
        await c.until(lambda: len(c.ready_pods()) == 3)
        assert sorted(pod["spec"]["hostname"] for pod in c.ready_pods()) == ["sum-0", "sum-1", "sum-2"]
        assert c.ready_pods()[0]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        for pod in c.ready_pods():
            c.kubelets.ends(pod, "Succeeded")
        await c.until(lambda: c.get("Job", "sum")["status"].get("completedIndexes") == "0-2")


@runs
async def test_a_suspended_job_has_no_pods():
    async with cluster() as c:
        c.client.create(job(suspend=True))
        await c.until(lambda: "conditions" in c.get("Job", "sum")["status"])
        assert not c.all("Pod")
        c.change("Job", "sum", {"spec": {"suspend": False}})
        await c.until(c.ready_pods)
        c.change("Job", "sum", {"spec": {"suspend": True}})
        await c.until(lambda: not c.all("Pod"))
