"""Pods on a kubelet: real processes in namespaces, with a store for the API server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path

import pytest

from harness.kubelets import KubeletLab, documents
from kcompile.apiserver import StatusError
from kcompile.lab import netns

DATA = Path(__file__).parent / "data"
SERVER = "exec python3 -m http.server 8080"


def test_a_pod_runs_and_its_status_says_so(lab: KubeletLab):
    async def work() -> None:
        lab.busybox("p", "echo out; echo err >&2; echo $A $B $SVC; exec sleep 100", env=[
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$(NO)-$$(A)"},
            {"name": "SVC", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ])  # fmt: skip
        await lab.until(lambda: lab.ready("p"))
        status, container = lab.status("p"), lab.container("p")
        assert (status["phase"], status["hostIP"]) == ("Running", "192.0.2.10")
        assert status["podIP"] in [ip["ip"] for ip in status["podIPs"]]
        assert lab.wired[-1][0] == "node-a"
        assert container["started"]
        assert "running" in container["state"]
        await lab.until(lambda: lab.events("p"))
        assert [event.partition(":")[0] for event in lab.events("p")] == ["Pulled", "Created", "Started"]
        await asyncio.sleep(0.1)
        assert sorted((await lab.text("p")).splitlines()) == sorted(
            ["out", "err", f"1 1-$(NO)-$(A) {status['podIP']}"]
        )

    lab.run(work())


def test_exec_has_exit_codes_input_and_a_terminal(lab: KubeletLab):
    async def work() -> None:
        await lab.until(lambda: lab.ready("p"))
        assert await lab.exec("p", "sh", "-c", "cat; hostname; exit 7", given=b"in\n") == (7, "in\np\n")
        assert await lab.exec("p", "sh", "-c", "kill -9 $$") == (137, "")
        code, said = await lab.exec(
            "p", "sh", "-c", "tty && stty size; read a; echo $a", given=b"word\n", tty=True
        )
        assert code == 0
        assert re.search(r"/dev/pts/\d+\r\n", said)
        assert said.endswith("word\r\n")
        with pytest.raises(StatusError, match='exec: "no-such": executable file not found'):
            await lab.exec("p", "no-such")
        with pytest.raises(StatusError, match="container other is not valid for pod p"):
            await lab.kubelets.exec(
                "default", "p", "other", ["true"], stdin=False, stdout=True, stderr=True, tty=False
            )

    lab.run(work())


def test_a_client_attaches_to_the_container_s_own_streams(lab: KubeletLab):
    async def work() -> None:
        script = "while read line; do echo got $line; done; exit 3"
        lab.busybox("attached", script, stdin=True, stdinOnce=True, pod={"restartPolicy": "Never"})
        await lab.until(lambda: lab.ready("attached"))
        wanted = {"stdin": True, "stdout": True, "stderr": True, "tty": False}
        running = await lab.kubelets.attach("default", "attached", "c", **wanted)
        assert running.stdin is not None
        running.stdin.write(b"one\ntwo\n")
        running.stdin.close()
        said = [data async for _, data in running.output()]
        assert b"".join(said) == b"got one\ngot two\n"
        assert await running.wait() == 0
        assert await lab.text("attached") == "got one\ngot two\n"

    lab.run(work())


def test_logs_are_followed_cut_and_dated(lab: KubeletLab):
    async def work() -> None:
        lab.busybox(
            "l", "for i in 1 2 3; do echo $i; sleep .1; done; exec sleep .3", pod={"restartPolicy": "Never"}
        )
        await lab.until(lambda: lab.container("l").get("state", {}).get("running"))
        assert await lab.text("l", follow=True) == "1\n2\n3\n"  # ends with the container
        await lab.until(lambda: lab.status("l")["phase"] == "Succeeded")
        assert await lab.text("l", tail=1) == "3\n"
        assert await lab.text("l", limit=3) == "1\n2"
        assert await lab.text("l", since=time.time() + 5) == ""
        stamped = await lab.text("l", timestamps=True, tail=1)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 3\n", stamped)
        with pytest.raises(StatusError, match='previous terminated container "c" in pod "l" not found'):
            await lab.text("l", previous=True)

    lab.run(work())


def test_a_fast_writer_neither_stalls_nor_grows(lab: KubeletLab):
    async def work() -> None:
        lab.busybox("fast", "yes & sleep .1; echo; sleep .6; kill %1; exec sleep 100")
        await lab.until(lambda: lab.container("fast").get("state", {}).get("running"))
        worst = 0.0
        for _ in range(10):
            began = time.perf_counter()
            await asyncio.sleep(0.05)
            worst = max(worst, time.perf_counter() - began)
        assert worst < 1.0
        folder = next(lab.directory.glob("pods/default.fast.*"))
        assert sum(path.stat().st_size for path in folder.rglob("*.log*")) < 20 << 20
        lab.client.delete("Pod", "default", "fast", 0)
        await lab.until(lambda: not folder.exists())

    lab.run(work())


def test_a_crash_loop_backs_off_and_is_counted(lab: KubeletLab):
    (deployment, _) = documents(DATA / "crash.yaml")
    pod = {**deployment["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] |= {"name": "crash", "namespace": "default"}
    pod["spec"]["containers"][0]["command"] = ["sh", "-c", "echo run; exit 3"]  # the file's waits two seconds

    async def work() -> None:
        lab.create(pod)
        waiting = await lab.until(lambda: lab.container("crash").get("state", {}).get("waiting"))
        while waiting["reason"] != "CrashLoopBackOff":
            await asyncio.sleep(0.01)
            waiting = lab.container("crash")["state"].get("waiting", waiting)
        container = lab.container("crash")
        assert not lab.ready("crash")
        assert lab.status("crash")["phase"] == "Running"
        assert container["restartCount"] == 1
        assert container["lastState"]["terminated"]["exitCode"] == 3
        assert waiting["message"].startswith("back-off 1s restarting failed container=c pod=crash_default(")
        assert await lab.text("crash", previous=True) == "run\n"
        await lab.until(lambda: lab.container("crash")["restartCount"] == 2)
        assert any(event.startswith("BackOff: Back-off restarting") for event in lab.events("crash"))
        lab.client.delete("Pod", "default", "crash")
        await lab.until(lambda: lab.pod("crash") is None)

    lab.run(work())


def test_a_pod_that_dies_has_failed(lab: KubeletLab):
    (pod, _) = documents(DATA / "dies.yaml")
    pod["spec"]["containers"][0]["command"][-1] = "python3 -m http.server 80 & sleep .5; exit 1"

    async def work() -> None:
        lab.create(pod)
        await lab.until(lambda: lab.ready("q"))
        address, name = lab.status("q")["podIP"], lab.settings.name
        await lab.until(lambda: lab.status("q")["phase"] == "Failed", 5)
        assert not lab.ready("q")
        assert lab.container("q")["state"]["terminated"]["exitCode"] == 1
        await lab.until(lambda: netns.netns_name(name, "pod", "default", "q") not in netns.of_lab(name))
        lab.busybox("after", "exec sleep 100")
        await lab.until(lambda: lab.ready("after"))
        assert lab.status("after")["podIP"] != address

    lab.run(work())


def test_an_unknown_image_of_an_init_container_is_named(lab: KubeletLab):
    (pod, _) = documents(DATA / "never-ready.yaml")

    async def work() -> None:
        lab.create(pod)
        waiting = await lab.until(
            lambda: (
                lab.container("p2", "initContainerStatuses")
                .get("state", {})
                .get("waiting", {})
                .get("message")
            )
        )
        assert "not/known:1" in waiting or "not/known" in waiting
        assert lab.status("p2")["phase"] == "Pending"
        assert lab.container("p2")["state"]["waiting"]["reason"] == "PodInitializing"

    pod["metadata"]["name"] = "p2"
    lab.run(work())


def test_a_failing_init_container_holds_the_pod(lab: KubeletLab):
    async def work() -> None:
        init = {"image": "busybox", "command": ["sh", "-c", "echo first > /data/f"], "name": "one"}
        mount = {"volumeMounts": [{"name": "w", "mountPath": "/data"}]}
        bad = {"name": "two", "image": "busybox", "command": ["false"]}
        volumes = [{"name": "w", "emptyDir": {}}]
        lab.busybox(
            "good",
            "cat /data/f; exec sleep 100",
            **mount,
            pod={"initContainers": [init | mount], "volumes": volumes},
        )
        lab.busybox("bad", "exec sleep 100", pod={"initContainers": [bad], "restartPolicy": "Never"})
        lab.busybox("again", "exec sleep 100", pod={"initContainers": [bad]})
        await lab.until(lambda: lab.ready("good") and lab.status("bad").get("phase") == "Failed")
        await asyncio.sleep(0.05)
        assert await lab.text("good") == "first\n"
        assert lab.container("bad", "initContainerStatuses")["state"]["terminated"]["reason"] == "Error"
        state = lambda: lab.container("again", "initContainerStatuses")  # noqa: E731
        await lab.until(lambda: state().get("restartCount") == 1)
        conditions = {each["type"]: each for each in lab.status("again")["conditions"]}
        assert conditions["Initialized"]["message"] == "containers with incomplete status: [two]"
        for name in ("good", "bad", "again"):
            lab.client.delete("Pod", "default", name)
        await lab.until(lambda: not any(map(lab.pod, ("good", "bad", "again"))))

    lab.run(work())


def test_a_sidecar_starts_first_and_ends_last(lab: KubeletLab):
    server = {"name": "s", "image": "busybox", "restartPolicy": "Always", "command": ["sh", "-c", SERVER]}
    server["startupProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30}
    script = "wget -qO /dev/null http://127.0.0.1:8080/ && echo served"

    async def work() -> None:
        spec = {"initContainers": [server], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        lab.busybox("side", script, pod=spec)
        lab.busybox("late", "exec sleep 100", pod={"activeDeadlineSeconds": 1, "restartPolicy": "Never"})
        await lab.until(lambda: lab.status("side").get("phase") == "Succeeded")
        assert await lab.text("side") == "served\n"
        state = lambda: lab.container("side", "initContainerStatuses")["state"]  # noqa: E731
        await lab.until(lambda: "terminated" in state())
        await lab.until(lambda: lab.status("late").get("phase") == "Failed")
        assert lab.status("late")["reason"] == "DeadlineExceeded"

    lab.run(work())


def test_a_declared_port_without_a_listener_is_information(lab: KubeletLab):
    (pod, _) = documents(DATA / "port-not-listened.yaml")
    pod["metadata"]["name"] = "echo"

    async def work() -> None:
        lab.create(pod)
        await lab.until(lambda: lab.ready("echo"))
        reader, writer = await _connected(lab, "echo", 80)
        writer.write(b"GET /x HTTP/1.0\r\n\r\n")
        assert b'"pod": "echo", "node": "node-a"' in await reader.read()
        writer.close()
        with pytest.raises(StatusError, match="failed to connect to localhost:443"):
            await lab.kubelets.connect("default", "echo", 443)

    lab.run(work())


async def _connected(lab: KubeletLab, pod: str, port: int):
    for _ in range(100):
        with contextlib.suppress(StatusError):
            return await lab.kubelets.connect("default", pod, port)
        await asyncio.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


def test_readiness_follows_its_probe_within_a_second_and_liveness_restarts(lab: KubeletLab):
    async def work() -> None:
        probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
        lab.busybox("probed", "touch /tmp/ready; exec sleep 100", readinessProbe=probe)
        live = {"httpGet": {"port": "web", "path": "/gone"}, "periodSeconds": 1, "failureThreshold": 2}
        lab.busybox("sick", SERVER, livenessProbe=live, ports=[{"name": "web", "containerPort": 8080}])
        await lab.until(lambda: lab.ready("probed"))
        for command, ready in (("rm", False), ("touch", True)):
            await lab.exec("probed", command, "/tmp/ready")
            await lab.until(lambda ready=ready: lab.ready("probed") is ready, 1.5)
        assert any(event.startswith("Unhealthy: Readiness probe failed:") for event in lab.events("probed"))
        await lab.until(lambda: lab.container("sick").get("restartCount"))
        said = "\n".join(lab.events("sick"))
        assert "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 404" in said
        assert "Killing: Container c failed liveness probe, will be restarted" in said
        for name in ("probed", "sick"):
            lab.client.delete("Pod", "default", name)

    lab.run(work())


def test_hooks_and_the_grace_period(lab: KubeletLab):
    async def work() -> None:
        hooks = {
            "postStart": {"exec": {"command": ["touch", "/tmp/begun"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo stop > /data/s"]}},
        }
        volume = {"volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "kept"}}]}
        lab.busybox(
            "polite",
            "trap 'echo term >> /data/s; exit 0' TERM; while :; do sleep .02; done",
            lifecycle=hooks,
            volumeMounts=[{"name": "w", "mountPath": "/data"}],
            pod={"terminationGracePeriodSeconds": 5} | volume,
        )
        lab.busybox(
            "deaf", "trap '' TERM; while :; do sleep .1; done", pod={"terminationGracePeriodSeconds": 1}
        )
        await lab.until(lambda: lab.ready("polite") and lab.ready("deaf"))
        assert (await lab.exec("polite", "ls", "/tmp/begun"))[0] == 0
        began = time.monotonic()
        for name in ("polite", "deaf"):
            lab.client.delete("Pod", "default", name)
        await lab.until(lambda: lab.pod("polite") is None)
        assert time.monotonic() - began < 1.5
        await lab.until(lambda: lab.pod("deaf") is None)
        assert 0.9 < time.monotonic() - began < 3
        assert (lab.directory / "claims/default/kept/s").read_text() == "stop\nterm\n"

    lab.run(work())


def test_volumes_and_their_changes(lab: KubeletLab):
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
    volumes = [
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "all", "projected": {"defaultMode": 0o400, "sources": [
            {"secret": {"name": "s", "items": [{"key": "k", "path": "deep/k"}]}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        ]}},
    ]  # fmt: skip
    mounts = [
        {"name": "config", "mountPath": "/config"},
        {"name": "config", "mountPath": "/etc/one", "subPath": "a"},
        {"name": "all", "mountPath": "/all"},
    ]

    async def work() -> None:
        more = {"envFrom": [{"secretRef": {"name": "s"}, "prefix": "S_"}], "workingDir": "/opt/made"}
        lab.busybox("files", "exec sleep 100", volumeMounts=mounts, pod={"volumes": volumes}, **more)
        await lab.until(lambda: any('configmap "c" not found' in event for event in lab.events("files")))
        lab.client.create({**config, "data": {"a": "1"}})
        lab.client.create({**secret, "data": {"k": "c2VjcmV0"}})
        await lab.until(lambda: lab.ready("files"))
        script = "cat /config/a /etc/one /all/deep/k /all/name; stat -c %a /all/name; pwd; echo $S_k"
        assert await lab.exec("files", "sh", "-c", script) == (0, "11secretfiles400\n/opt/made\nsecret\n")
        lab.client.update({**config, "data": {"a": "2", "b": "3"}})
        await asyncio.sleep(0.05)
        assert await lab.exec("files", "sh", "-c", "cat /config/a /config/b /etc/one") == (0, "231")
        assert (await lab.exec("files", "touch", "/config/x"))[0] != 0
        account = "cd /var/run/secrets/kubernetes.io/serviceaccount; cat token ca.crt namespace"
        assert await lab.exec("files", "sh", "-c", account) == (0, "secretcertificatedefault")

    lab.run(work())


def test_a_user_a_read_only_root_and_the_node_s_network(lab: KubeletLab):
    async def work() -> None:
        security = {"runAsUser": 1234, "readOnlyRootFilesystem": True}
        lab.busybox(
            "u", "id -u; touch /x; exec sleep 100", securityContext=security, pod={"hostNetwork": True}
        )
        await lab.until(lambda: lab.ready("u"))
        assert lab.status("u")["podIP"] == "192.0.2.10"
        await asyncio.sleep(0.1)
        assert (await lab.text("u")).startswith("1234\ntouch: ")
        assert (await lab.exec("u", "hostname")) == (0, "node-a\n")

    lab.run(work())
