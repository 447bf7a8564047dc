"""A pod's status, probes' thresholds, restart delays, limits, and what a lab hasn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from kcompile.lab.kubelet.backoff import Backoff
from kcompile.lab.kubelet.cgroups import Cgroups, limits, remove
from kcompile.lab.kubelet.probes import Probe, Streak
from kcompile.lab.kubelet.status import ContainerState, PodState, phase, pod_status, timestamp
from kcompile.lab.kubelet.unsupported import unsupported

RUNNING = {"running": {"startedAt": "t"}}
WAITING = {"waiting": {"reason": "ContainerCreating"}}


def ended(code: int) -> dict:
    return {"terminated": {"exitCode": code}}


def state(*containers: dict, init: tuple[dict, ...] = (), last: dict | None = None) -> PodState:
    made = PodState(0.0, sandbox=True)
    for number, each in enumerate(init):
        made.init.append(ContainerState(f"i{number}", "", restartable=False, state=each))
    for number, each in enumerate(containers):
        ready = "running" in each
        made.containers.append(
            ContainerState(f"c{number}", "", state=each, last=last or {}, ready=ready, started=ready)
        )
    return made


@pytest.mark.parametrize(
    ("pod", "policy", "expected"),
    [
        (state(WAITING), "Always", "Pending"),
        (state(RUNNING, WAITING), "Always", "Pending"),
        (state(RUNNING, RUNNING), "Always", "Running"),
        (state(RUNNING, ended(0)), "Never", "Running"),
        (state(ended(0), ended(0)), "Never", "Succeeded"),
        (state(ended(0), ended(1)), "Never", "Failed"),
        (state(ended(1)), "OnFailure", "Running"),
        (state(ended(0)), "OnFailure", "Succeeded"),
        (state(ended(1)), "Always", "Running"),
        (state(WAITING, last=ended(1)), "Always", "Running"),
        (state(WAITING, init=(RUNNING,)), "Always", "Pending"),
        (state(WAITING, init=(ended(1),)), "Never", "Failed"),
        (state(WAITING, init=(ended(1),)), "Always", "Pending"),
        (state(RUNNING, init=(ended(0),)), "Always", "Running"),
    ],
)
def test_the_phase(pod: PodState, policy: str, expected: str):
    assert phase(pod, policy) == expected


def conditions(pod: PodState, now: float = 0.0, **more: object) -> dict[str, dict]:
    obj = {"metadata": {"name": "p", **more.pop("metadata", {})}, "spec": {"restartPolicy": "Always"}, **more}
    return {each["type"]: each for each in pod_status(obj, pod, now)["conditions"]}


def test_conditions_while_init_containers_run():
    found = conditions(state(WAITING, init=(RUNNING, WAITING)))
    assert found["Initialized"]["message"] == "containers with incomplete status: [i0 i1]"
    assert found["Ready"]["reason"] == found["ContainersReady"]["reason"] == "ContainersNotReady"
    assert found["Ready"]["message"] == "containers with unready status: [c0]"
    assert found["PodScheduled"]["status"] == found["PodReadyToStartContainers"]["status"] == "True"


def test_a_condition_keeps_the_time_of_its_last_change():
    pod = state(RUNNING)
    before = conditions(pod, 5.0)
    status = {
        "conditions": [*before.values(), {"type": "own/gate", "status": "False"}],
        "qosClass": "Burstable",
    }
    after = conditions(pod, 9.0, status=status)
    assert after["Ready"]["lastTransitionTime"] == timestamp(5.0)
    assert after["own/gate"] == {"type": "own/gate", "status": "False"}
    pod.containers[0].ready = False
    assert conditions(pod, 9.0, status=status)["Ready"]["lastTransitionTime"] == timestamp(9.0)


def test_readiness_gates_are_waited_for():
    obj = {"metadata": {"name": "p"}, "spec": {"readinessGates": [{"conditionType": "own/gate"}]}}
    found = {each["type"]: each for each in pod_status(obj, state(RUNNING), 0.0)["conditions"]}
    assert found["ContainersReady"]["status"] == "True"
    assert (
        found["Ready"]["message"]
        == 'corresponding condition of pod readiness gate "own/gate" does not exist.'
    )


def test_a_deadline_fails_the_pod():
    pod = state(ended(0), ended(137))
    pod.reason, pod.message = "DeadlineExceeded", "too long"
    obj = {"metadata": {"name": "p"}, "spec": {"restartPolicy": "Never"}}
    status = pod_status(obj, pod, 0.0)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_sidecar_counts_for_readiness_and_initialization():
    pod = state(RUNNING)
    pod.init.append(ContainerState("side", "", restartable=True, state=RUNNING, started=True, ready=False))
    found = conditions(pod)
    assert found["Initialized"]["status"] == "True"
    assert found["Ready"]["message"] == "containers with unready status: [side]"


def test_thresholds_of_a_probe():
    streak = Streak(Probe.read({"successThreshold": 2, "failureThreshold": 3}))
    results = [True, True, False, False, True, False, False, False, False]
    assert [streak.add(each) for each in results] == [
        False,
        True,
        False,
        False,
        False,
        False,
        False,
        True,
        True,
    ]


def test_defaults_of_a_probe():
    assert Probe.read({"exec": {}}) == Probe({"exec": {}}, 0, 1, 10, 1, 3, None)


def test_delays_double_up_to_five_minutes_and_begin_again_after_a_good_run():
    backoff = Backoff()
    assert [backoff.ended(2.0) for _ in range(11)] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert backoff.ended(601.0) == 0
    assert backoff.ended(1.0) == 1


def test_limits_are_written_into_a_group_and_go_with_the_lab(tmp_path: Path):
    files = limits({"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "1"}})
    assert files == {"cpu.max": "25000 100000", "memory.max": str(64 << 20)}
    for folder in (tmp_path, tmp_path / "kcompile-x"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu io memory pids\n")
    groups = Cgroups("x", tmp_path)
    path = groups.make("ns.pod.c", files)
    assert path is not None
    assert {name: (path / name).read_text() for name in files} == files
    (path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert groups.ran_out_of_memory(path)
    assert groups.make("ns.pod.d", limits({})) is None
    remove("none", tmp_path)


def test_without_the_controllers_there_are_no_groups(tmp_path: Path):
    assert not Cgroups("x", tmp_path).works
    (tmp_path / "cgroup.controllers").write_text("cpuset\n")
    assert Cgroups("x", tmp_path).make("c", {"cpu.max": "1 1"}) is None


def test_what_a_lab_has_not_is_named_once():
    container = {"name": "c", "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 1}}
    spec = {
        "hostPID": True,
        "volumes": [{"name": "a", "nfs": {}}, {"name": "b", "nfs": {}}, {"name": "c", "emptyDir": {}}],
        "containers": [container, {**container, "readinessProbe": {"grpc": {"port": 1}}}],
    }
    assert unsupported(spec) == [
        "containers[].readinessProbe.grpc (always a success)",
        "containers[].securityContext.capabilities",
        "hostPID",
        "volumes[].nfs (an empty folder)",
    ]
    assert unsupported({"containers": [{"name": "c"}]}) == []
