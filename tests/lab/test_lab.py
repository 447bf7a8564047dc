"""What a lab does beside rules: containers, files, environment, logs, and refusing."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import modes
from harness.clusters import Cluster, cluster
from kcompile.lab import netns

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("lab"), "-f", str(Path(__file__).parent / "web.yaml")) as made:
        yield made


def test_a_container_sees_its_own_world(lab: Cluster):
    pod = lab.pods("web-")[0]
    assert lab.run("exec", pod["name"], "hostname").strip() == pod["name"]
    assert len(lab.run("exec", pod["name"], "sh", "-c", "ls -d /proc/[0-9]*").split()) <= 3
    links = lab.run("exec", pod["name"], "ls", "/sys/class/net").split()
    assert sorted(links) == ["eth0", "lo"]
    assert lab.run("exec", pod["name"], "cat", "/etc/hostname").strip() == pod["name"]


def test_what_a_container_writes_stays_in_it(lab: Cluster):
    first, second, *_ = (pod["name"] for pod in lab.pods("web-"))
    lab.run("exec", first, "sh", "-c", "echo here >/etc/kcompile-lab-test")
    assert lab.run("exec", first, "cat", "/etc/kcompile-lab-test") == "here\n"
    lab.run("exec", second, "cat", "/etc/kcompile-lab-test", code=1)
    assert not Path("/etc/kcompile-lab-test").exists()


def test_the_cluster_as_its_nodes_see_it(lab: Cluster):
    def got(kind: str, name: str, namespace: str = "shop") -> dict:
        return json.loads(lab.run("kubectl", "get", kind, name, "-n", namespace, "-o", "json"))

    pods = {pod["name"]: pod for pod in lab.pods("web-")}
    chosen = (
        "kubectl",
        "get",
        "endpointslices",
        "-n",
        "shop",
        "-l",
        "kubernetes.io/service-name=%s",
        "-o",
        "json",
    )
    (piece,) = json.loads(lab.run(*(word.replace("%s", "web") for word in chosen)))["items"]
    assert [port["port"] for port in piece["ports"]] == [8080]
    found = {
        e["targetRef"]["name"]: (e["addresses"], e["nodeName"], e["conditions"]["ready"])
        for e in piece["endpoints"]
    }
    assert found == {name: (pod["addresses"], pod["node"], True) for name, pod in pods.items()}
    (headless,) = json.loads(lab.run(*(word.replace("%s", "each") for word in chosen)))["items"]
    assert "service.kubernetes.io/headless" in headless["metadata"]["labels"]
    service = got("service", "web")["spec"]
    assert service["clusterIPs"] == lab.service("web")["clusterIPs"]
    assert service["ports"][0]["nodePort"] == 30080
    assert got("node", "node-b")["status"]["addresses"][0]["address"] == "192.0.2.11"


def test_environment(lab: Cluster):
    pod = lab.pods("web-")[0]
    env = dict(line.split("=", 1) for line in lab.run("exec", pod["name"], "env").splitlines())
    assert (env["NODE_NAME"], env["GREETING"]) == (pod["node"], "hello")
    assert env["SENTENCE"] == f"hello, {pod['node']} $(GREETING)"


def test_a_changed_config_map_reaches_the_files(lab: Cluster, tmp_path: Path):
    pod = lab.pods("web-")[0]["name"]
    assert lab.run("exec", pod, "sh", "-c", "cd /etc/words; cat greeting; ls").split() == [
        "hellofarewell",
        "greeting",
    ]
    lab.run("exec", pod, "sh", "-c", "echo x >/etc/words/greeting", code=2)  # read-only
    changed = tmp_path / "words.yaml"
    changed.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words, namespace: shop}\n"
        "data: {greeting: good day}\n"
    )
    assert lab.run("apply", "-f", str(changed)) == "configmap/words configured\n"
    assert lab.run("exec", pod, "sh", "-c", "cd /etc/words; cat greeting; ls") == "good daygreeting\n"
    assert lab.pods("web-")[0]["name"] == pod


def test_volumes_of_every_kind(lab: Cluster, tmp_path: Path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "pod.yaml").write_text(f"""
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: shop}}
data: {{token: c2VjcmV0, other: eA==}}
stringData: {{plain: as it is}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: own-words, namespace: shop}}
data: {{farewell: goodbye}}
---
apiVersion: v1
kind: Pod
metadata: {{name: files, namespace: shop}}
spec:
  containers:
  - name: first
    image: busybox
    command: [sleep, infinity]
    workingDir: /scratch
    envFrom: [{{prefix: W_, configMapRef: {{name: own-words}}}}, {{secretRef: {{name: keys}}}}]
    volumeMounts:
    - {{name: keys, mountPath: /keys}}
    - {{name: words, mountPath: /etc/one-word, subPath: farewell}}
    - {{name: scratch, mountPath: /scratch}}
    - {{name: shared, mountPath: /shared}}
  - name: second
    image: busybox
    command: [sh, -c, "hostname >/scratch/second; sleep infinity"]
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
  volumes:
  - name: keys
    secret:
      secretName: keys
      items: [{{key: token, path: deep/token}}, {{key: plain, path: plain}}]
  - {{name: words, configMap: {{name: own-words}}}}
  - {{name: scratch, emptyDir: {{}}}}
  - {{name: shared, hostPath: {{path: {tmp_path}/shared}}}}
""")
    lab.run("apply", "-f", str(tmp_path / "pod.yaml"))
    assert (
        lab.run("exec", "files", "sh", "-c", "cat /keys/deep/token /keys/plain; find /keys -type f | wc -l")
        == "secretas it is2\n"
    )
    assert lab.run("exec", "files", "cat", "/etc/one-word") == "goodbye"
    assert lab.run("exec", "files", "sh", "-c", "echo $W_farewell $token") == "goodbye secret\n"
    deadline = time.monotonic() + 5
    while lab.run("exec", "files", "sh", "-c", "pwd; cat second || true").splitlines() != [
        "/scratch",
        "files",
    ]:
        assert time.monotonic() < deadline
    lab.run("exec", "-c", "second", "files", "sh", "-c", "echo there >/scratch/x")
    assert lab.run("exec", "files", "cat", "x") == "there\n"
    lab.run("exec", "files", "sh", "-c", "echo out >/shared/x")
    assert (tmp_path / "shared" / "x").read_text() == "out\n"
    assert (
        lab.run("logs", "-c", "third", "files", code=2)
        == "kcompile: there is no container third: the pod has first, second\n"
    )
    lab.run("delete", "-f", str(tmp_path / "pod.yaml"), "--grace-period", "1")
    assert not lab.pods("files")


def test_iperf3(lab: Cluster, tmp_path: Path):
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: iperf, labels: {app: iperf}}\n"
        "spec: {containers: [{name: c, image: 'networkstatic/iperf3:latest', "
        "ports: [{containerPort: 5201}]}]}\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: iperf}\n"
        "spec: {selector: {app: iperf}, ports: [{port: 5201}]}\n"
    )
    lab.run("apply", "-f", str(tmp_path / "pod.yaml"))
    result = json.loads(lab.run("exec", "visitor", "iperf3", "-c", "iperf", "-n", "1M", "-J"))
    assert result["end"]["sum_sent"]["bytes"] >= 1 << 20
    assert result["end"]["sum_received"]["bytes"] > 0
    lab.run("delete", "-f", str(tmp_path / "pod.yaml"))


def test_logs(lab: Cluster):
    pod = lab.pods("web-")[0]
    lab.get(lab.space("client"), pod["addresses"][0], 8080, "/one")
    lab.get(lab.space("client"), pod["addresses"][0], 8080, "/two")
    assert lab.run("logs", pod["name"], "--tail", "1") == '203.0.113.7 "GET /two HTTP/1.1" 200 -\n'
    lines = lab.run("logs", "deploy/web").splitlines()
    assert f'{pod["name"]}: 203.0.113.7 "GET /one HTTP/1.1" 200 -' in lines


def test_what_ends_is_started_again(lab: Cluster):
    pod = next(pod for pod in lab.pods("web-") if not pod["restarts"])
    # a namespace's first process can't be killed from inside
    lab.run("exec", pod["name"], "--", "sh", "-c", "kill -9 1")
    for pid in netns.processes([lab.space_of(pod)]):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (again := next(p for p in lab.pods("web-") if p["name"] == pod["name"]))[
        "state"
    ] != "ready" or not again["restarts"]:
        assert time.monotonic() < deadline, again
        time.sleep(0.1)
    assert (again["restarts"], again["addresses"]) == (1, pod["addresses"])


def test_a_pod_that_is_done_is_left_alone(lab: Cluster, tmp_path: Path):
    (tmp_path / "job.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: job}\n"
        "spec: {restartPolicy: Never, containers: "
        "[{name: c, image: busybox, args: [sh, -c, 'sleep 0.2; echo done']}]}\n"
    )
    lab.run("apply", "-f", str(tmp_path / "job.yaml"))
    deadline = time.monotonic() + 10
    while lab.pods("job")[0]["state"] != "ended (0)":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lab.run("scale", "web", "3")
    assert lab.run("logs", "job") == "done\n"
    lab.run("delete", "pod", "job")
    assert lab.pods("job") == []


def test_a_pod_that_does_not_start_says_why(lab: Cluster, tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\n"
        "spec:\n  restartPolicy: Never\n  containers:\n"
        "  - {name: c, image: busybox, args: [sh, -c, 'echo no such luck; exit 3'], "
        "ports: [{containerPort: 80}]}\n"
    )
    said = lab.run("apply", "-f", str(tmp_path / "bad.yaml"), code=1)
    why = "isn't ready; its log ends with: no such luck"
    assert said.splitlines()[-1] == f"kcompile: Pod default/bad {why} (kcompile lab logs bad -n default)"
    assert lab.pods("bad")[0]["state"] == "ended (3)"
    lab.run("scale", "web", "4")  # the others don't wait for it
    assert len(lab.service("web")["endpoints"]) == 4
    lab.run("scale", "web", "3")
    lab.run("delete", "pod", "bad")


def test_scale(lab: Cluster):
    try:
        lab.run("scale", "web", "5")
        assert len(lab.service("web")["endpoints"]) == 5
        lab.run("scale", "web", "0")
        assert lab.service("web")["endpoints"] == lab.pods("web-") == []
        with pytest.raises(ConnectionRefusedError):
            lab.get(lab.space("client"), lab.status()["nodes"][0]["addresses"][0], 30080)
    finally:
        lab.run("scale", "web", "3")
    assert len(lab.service("web")["endpoints"]) == 3


def test_a_rollout_that_fails_leaves_the_old_pods_at_work(lab: Cluster, tmp_path: Path):
    before = {pod["name"] for pod in lab.pods("web-")}
    bad = tmp_path / "web.yaml"
    text = (Path(__file__).parent / "web.yaml").read_text()
    bad.write_text(
        text.replace(
            "image: docker.io/kcompile/echo:1.0",
            "image: busybox\n        command: [sh, -c, echo broken]\n        "
            "readinessProbe: {exec: {command: ['false']}}",
        )
    )
    assert "its log ends with: broken" in lab.run("apply", "-f", str(bad), code=1)
    lab.answered_by(lab.space("client"), lab.status()["nodes"][0]["addresses"][0], 30080, before)
    (tmp_path / "extra.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: extra}\nspec: {ports: [{port: 80}]}\n"
    )
    # nor is the rollout taken for done by the next command
    lab.run("apply", "-f", str(tmp_path / "extra.yaml"))
    lab.answered_by(lab.space("client"), lab.status()["nodes"][0]["addresses"][0], 30080, before)
    bad.write_text(text)
    lab.run("apply", "-f", str(bad))
    assert {pod["name"] for pod in lab.pods("web-")} == before


def test_a_config_map_that_is_gone_stops_nobody_who_has_it(lab: Cluster, web: str):
    before = {pod["name"] for pod in lab.pods("web-")}
    lab.run("delete", "configmap", "words")
    assert lab.run("exec", "deploy/web", "cat", "/etc/words/greeting")
    said = lab.run("scale", "web", "4", code=1)
    assert 'configmap "words" not found' in said
    assert before <= {pod["name"] for pod in lab.pods("web-") if pod["state"] == "ready"}
    lab.run("apply", "-f", web)
    assert {pod["name"] for pod in lab.pods("web-")} == before


@pytest.mark.kernel_lacks(reason="a kernel with every mode has none that does not work")
def test_a_mode_that_does_not_work_changes_nothing(lab: Cluster):
    if not modes.missing("ipvs"):
        pytest.skip("every mode works here")
    names = {pod["name"] for pod in lab.pods("web-")}
    assert lab.run("apply", "--mode", "ipvs", code=1).startswith("kcompile: node-a: ")
    assert lab.status()["mode"] == "nftables"
    lab.run("scale", "web", "3")
    lab.answered_by(lab.space("client"), lab.status()["nodes"][1]["addresses"][0], 30080, names)


def test_the_name_server_is_not_deleted(lab: Cluster):
    said = lab.run("delete", "deployment", "coredns", code=2)
    assert said == "kcompile: Deployment kube-system/coredns is the lab's own\n"
    before = lab.pods("coredns")[0]
    lab.run("delete", "pod", before["name"])
    assert lab.pods("coredns")[0]["addresses"] != before["addresses"]
    lab.run("exec", "visitor", "getent", "hosts", "web.shop")


def test_a_changed_template_replaces_the_pods(lab: Cluster, tmp_path: Path):
    before = {pod["name"] for pod in lab.pods("web-")}
    changed = tmp_path / "web.yaml"
    changed.write_text(
        (Path(__file__).parent / "web.yaml")
        .read_text()
        .replace("labels: {app: web}", "labels: {app: web, version: two}")
    )
    said = lab.run("apply", "-f", str(changed)).splitlines()
    assert "deployment.apps/web configured" in said
    assert "service/web unchanged" in said
    after = {pod["name"] for pod in lab.pods("web-")}
    assert len(after) == 3
    assert not before & after
    lab.answered_by(lab.space("client"), lab.status()["nodes"][1]["addresses"][0], 30080, after)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("image: busybox", "image: example.org/team/app:3"),
            "no local command is mapped to example.org/team/app:3 (Pod default/visitor-two)",
        ),
        (
            ("image: busybox,", "image: busybox, volumeMounts: [{name: none, mountPath: /x}],"),
            "Pod default/visitor-two: spec.containers[0].volumeMounts[0].name: there is no volume none",
        ),
        (("port: 80,", "port: 80000,"), "spec.ports[0].port: 80000 is not a port"),
        (("command: [sleep, infinity]", "command: sleep"), "Pod default/visitor-two: "),
    ],
)
def test_what_is_wrong_is_refused_before_anything_happens(
    lab: Cluster, tmp_path: Path, change: tuple[str, str], says: str
):
    before = lab.status()
    text = (Path(__file__).parent / "web.yaml").read_text()
    assert change[0] in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(*change).replace("name: visitor", "name: visitor-two"))
    said = lab.run("apply", "-f", str(path), code=2)
    assert says in said
    assert lab.status() == before


def test_up_again_applies_and_other_settings_are_refused(lab: Cluster, web: str):
    said = lab.run("up", "-f", web)
    assert "service/web unchanged" in said
    said = lab.run("up", "--nodes", "3", "--network", "vxlan", code=2)
    way_out = f"kcompile lab down --name {lab.name} removes it"
    assert said == f"kcompile: lab {lab.name} is up with 2 nodes, --network routes: {way_out}\n"


def test_the_rules_can_be_looked_at_with_the_other_verbs(lab: Cluster):
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "kcompile",
        "get",
        "services",
        "--netns",
        lab.space("node", "node-a"),
        "-o",
        "json",
    ]
    shown = json.loads(
        subprocess.run(command, env=lab.environment, capture_output=True, text=True, check=True).stdout
    )
    assert {"shop/web:http", "kube-system/kube-dns:dns"} <= {one["service"] for one in shown}
