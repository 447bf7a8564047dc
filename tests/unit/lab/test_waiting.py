"""What a lab waits for, and when it stops."""

from typing import Any

import pytest

from kcompile.lab.waiting import Named, failures, unpublished, unready

WEB = Named("Deployment", "shop", "web")


def world(pod: dict[str, Any], *, published: bool = False, **deployment: int):
    """A Deployment, its ReplicaSet, one Pod, a Service and its slice."""

    def meta(name: str, owner: str = "", **more: Any) -> dict[str, Any]:
        owners = [{"kind": "x", "name": owner, "uid": owner}] if owner else []
        return {"namespace": "shop", "name": name, "uid": name, "ownerReferences": owners, **more}

    conditions = {"ready": published}
    piece = {
        "metadata": meta("web-1", labels={"kubernetes.io/service-name": "web"}),
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}],
    }
    event = {
        "metadata": meta("e"),
        "reason": "FailedMount",
        "message": "no words",
        "involvedObject": {"uid": "p"},
    }
    objects = {
        "Deployment": [{"metadata": meta("web"), "spec": {"replicas": 1}, "status": deployment}],
        "ReplicaSet": [{"metadata": meta("rs", "web"), "spec": {"replicas": 1}}],
        "Pod": [{"metadata": meta("p", "rs", labels={"app": "web"}), "status": pod}],
        "Service": [{"metadata": meta("web"), "spec": {"selector": {"app": "web"}}}],
        "EndpointSlice": [piece],
        "Event": [event] if pod.get("phase") == "Pending" else [],
    }
    return lambda kind: {(o["metadata"]["namespace"], o["metadata"]["name"]): o for o in objects[kind]}


def test_a_deployment_is_ready_when_its_new_pods_are():
    assert unready(world({}), [WEB]) == ["Deployment shop/web: 0 of 1 ready"]
    assert unready(world({}, replicas=1, readyReplicas=1), [WEB]) == ["Deployment shop/web: 0 of 1 ready"]
    assert unready(world({}, replicas=1, readyReplicas=1, updatedReplicas=1), [WEB]) == []
    assert unready(world({}, replicas=2, readyReplicas=1, updatedReplicas=1), [WEB]) != []


READY = {"conditions": [{"type": "Ready", "status": "True"}], "podIPs": [{"ip": "10.0.0.1"}]}


def test_a_service_is_published_when_its_slices_have_its_ready_pods():
    assert unpublished(world(READY)) == ["endpoints of Service shop/web"]
    assert unpublished(world(READY, published=True)) == []
    assert unpublished(world({"podIPs": [{"ip": "10.0.0.1"}]})) == []


def waiting(reason: str, restarts: int = 0) -> dict[str, Any]:
    container = {"name": "c", "restartCount": restarts, "state": {"waiting": {"reason": reason}}}
    return {"phase": "Running", "containerStatuses": [container]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (waiting("ContainerCreating"), None),
        (waiting("CrashLoopBackOff", 1), None),
        (waiting("CrashLoopBackOff", 3), "container c: CrashLoopBackOff"),
        (waiting("CreateContainerConfigError"), "container c: CreateContainerConfigError"),
        ({"phase": "Pending"}, "no words"),
        (
            {
                "phase": "Failed",
                "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}],
            },
            "container c ended with status 3",
        ),
    ],
)
def test_what_will_not_become_ready_by_waiting(status: dict[str, Any], reason: str | None):
    found = [failure.reason for failure in failures(world(status), [WEB])]
    assert found == ([reason] if reason else [])
