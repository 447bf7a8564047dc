"""The real kubectl (1.37) against our server: what it prints, and what it printed of a real server."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import socket
import socketserver
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest

from harness.localcontainers import LocalContainers
from harness.served import Kubectl, served
from kcompile.apiserver import Store

DATA = Path(__file__).parent / "data"
OUTPUTS = [json.loads(line) for line in (DATA / "kubectl-outputs.jsonl").read_text().splitlines()]
VOLATILE = [
    (re.compile(r"\b\d+m?\d*s\b"), "AGE"),
    (re.compile(r"\b10\.\d+\.\d+\.\d+"), "ADDRESS"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ][\d:.]+(Z| \+0000)"), "TIME"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d [\d:]+ \+0000"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), "UID"),
    (re.compile(r'(resourceVersion"?: )"\d+"'), r"\1N"),
    (re.compile(r"\S*/?(LIVE|MERGED)(-\d+)?/"), r"\1/"),
    (re.compile(r" {2,}"), "  "),
]
OTHER_WORDS = ("kubectl apply -f bad.yaml",)
OTHER_SERVERS = re.compile(r"^default +kubernetes .*\n|^configmap/c2 .*\n", re.MULTILINE)
"""Objects that the recorded server had of itself, or by server-side apply."""


@pytest.fixture(scope="module")
def containers(tmp_path_factory) -> LocalContainers:
    return LocalContainers(tmp_path_factory.mktemp("container"))


@pytest.fixture(scope="module")
def store() -> Store:
    return Store()


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory, store, containers):
    home = tmp_path_factory.mktemp("kubectl")
    for path in (DATA / "manifests").iterdir():
        shutil.copy(path, home)
    with served(store, containers=containers) as (url, loop):
        kubectl = Kubectl(url, home, loop)
        kubectl.ok("create", "-f", "node.yaml")
        yield kubectl


def words(command: str) -> list[str]:
    """The arguments of a recorded command, whose patches aren't quoted."""
    before, patch, argument = command.partition(" -p ")
    return [*shlex.split(before)[1:], *(["-p", argument] if patch else [])]


def lines(text: str) -> str:
    """What was printed, without what each server chooses for itself."""
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return OTHER_SERVERS.sub("", text)


def test_the_recorded_commands_print_what_they_printed_of_a_real_server(kubectl):
    differing = []
    for line in OUTPUTS:
        answer = kubectl.run(*words(line["command"]))
        said = [sorted(lines(text).splitlines()) for text in (answer.output, line["output"])]
        if answer.exit != line["exit"] or (said[0] != said[1] and line["command"] not in OTHER_WORDS):
            differing.append((line["command"], line["exit"], line["output"], answer))
    assert differing == []
    assert len(OUTPUTS) > 50


@pytest.fixture(scope="module")
def pod(store) -> str:
    """A pod that runs, as far as the API knows."""
    where = {"name": "box", "namespace": "default"}
    spec = {"nodeName": "node-a", "containers": [{"name": "main", "image": "busybox"}]}
    store.create({"apiVersion": "v1", "kind": "Pod", "metadata": where, "spec": spec})
    state = {"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}
    state |= {"image": "busybox", "imageID": "busybox"}
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [state]}
    store.update_status({"apiVersion": "v1", "kind": "Pod", "metadata": where, "status": status})
    return "box"


def test_exec_joins_a_process_and_tells_how_it_ended(kubectl, pod, containers):
    assert kubectl.ok("exec", pod, "--", "echo", "hello") == "hello\n"
    assert kubectl.ok("exec", "-i", pod, "--", "sort", text="b\na\n") == "a\nb\n"
    ended = kubectl.run("exec", pod, "--", "sh", "-c", "echo sorry >&2; exit 3")
    assert ended == (3, "sorry\ncommand terminated with exit code 3\n")
    refused = kubectl.run("exec", pod, "--", "no-such-program")
    assert refused.exit == 1
    assert "not found" in refused.output
    assert all(each._process.returncode is not None for each in containers.started)


def test_exec_it_has_a_terminal_of_the_clients_size(kubectl, pod):
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    script = (
        "until [ \"$(stty size)\" = '33 99' ]; do sleep 0.05; done; echo ready; read line; echo got $line"
    )
    command = kubectl.command("exec", "-it", pod, "--", "sh", "-c", script)
    with subprocess.Popen(
        command, env=kubectl.environment(), stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(master, 4096)
        os.write(master, b"words\n")
        while b"got words" not in seen:
            seen += os.read(master, 4096)
        assert process.wait(20) == 0
    os.close(master)


def test_a_client_that_goes_takes_its_process_with_it(kubectl, pod, containers):
    command = kubectl.command("exec", "-i", pod, "--", "sh", "-c", "echo started; exec sleep 60")
    with subprocess.Popen(command, env=kubectl.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.kill()
    deadline = time.monotonic() + 10
    while containers.started[-1]._process.returncode is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert containers.started[-1]._process.returncode == -9


def test_cp_there_and_back(kubectl, pod, containers):
    content = os.urandom(300_000)
    (kubectl.home / "file").write_bytes(content)
    kubectl.ok("cp", "file", f"{pod}:copied")
    assert (containers.folder / "copied").read_bytes() == content
    kubectl.ok("cp", f"{pod}:copied", "back")
    assert (kubectl.home / "back").read_bytes() == content


def test_attach_joins_the_containers_own_process(kubectl, pod):
    assert "typed\n" in kubectl.ok("attach", "-i", pod, text="typed\n")


def test_logs_by_lines_and_as_they_come(kubectl, pod, containers):
    more = asyncio.Event()
    containers.logs_of[f"{pod}/main"] = [b"one\n", b"two\n", more, b"three\n"]
    assert kubectl.ok("logs", pod, "--tail=3") == "two\nthree\n"
    command = kubectl.command("logs", "-f", pod, "--timestamps", "--since=1h")
    with subprocess.Popen(command, env=kubectl.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "one\n"
        assert process.stdout.readline() == "two\n"
        kubectl.loop.call_soon_threadsafe(more.set)
        assert process.stdout.read() == "three\n"
    options = containers.asked[-1]
    assert (options["follow"], options["timestamps"], options["tail"]) == (True, True, None)
    assert abs(options["since"] - (time.time() - 3600)) < 30
    refused = kubectl.run("logs", pod, "--previous")
    assert refused.exit == 1
    assert 'previous terminated container "main"' in refused.output


def test_a_watch_shows_rows_as_they_change(kubectl, store):
    def put(value: str) -> None:
        meta = {"name": "watched", "namespace": "default"}
        store.put(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict.fromkeys(value, "")}
        )

    put("a")
    command = kubectl.command("get", "configmaps", "-w", "--output-watch-events")
    with subprocess.Popen(command, env=kubectl.environment(), stdout=subprocess.PIPE, text=True) as process:
        rows = [process.stdout.readline().split()[:3] for _ in range(2)]
        put("ab")
        rows.append(process.stdout.readline().split()[:3])
        store.delete("ConfigMap", "default", "watched")
        rows.append(process.stdout.readline().split()[:3])
        process.kill()
    assert rows == [
        ["EVENT", "NAME", "DATA"],
        ["ADDED", "watched", "1"],
        ["MODIFIED", "watched", "2"],
        ["DELETED", "watched", "2"],
    ]


def test_what_a_server_without_controllers_can_say_of_kinds(kubectl):
    kinds = kubectl.ok("api-resources", "--no-headers")
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment$", kinds, re.MULTILINE)
    assert kubectl.ok("api-resources", "--categories=all", "-o", "name").split() == [
        "pods", "services", "daemonsets.apps", "deployments.apps", "replicasets.apps", "statefulsets.apps",
        "jobs.batch",
    ]  # fmt: skip
    explained = kubectl.ok("explain", "deployment.spec.strategy.rollingUpdate", "--recursive")
    assert "maxSurge\t<IntOrString>" in explained
    assert kubectl.ok("auth", "can-i", "delete", "nodes") == (
        "Warning: resource 'nodes' is not namespace scoped\n\nyes\n"
    )


def test_what_the_imperative_verbs_make(kubectl, store):
    kubectl.ok("create", "job", "once", "--image=busybox", "--", "date")
    job = store.get("Job", "default", "once")
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["date"]
    assert job["spec"]["selector"]["matchLabels"] == {
        "batch.kubernetes.io/controller-uid": job["metadata"]["uid"]
    }
    kubectl.ok("create", "service", "nodeport", "np", "--tcp=80:8080", "--node-port=30999")
    port = store.get("Service", "default", "np")["spec"]["ports"][0]
    assert (port["port"], port["targetPort"], port["nodePort"]) == (80, 8080, 30999)
    kubectl.ok("create", "serviceaccount", "robot")
    assert len(kubectl.ok("create", "token", "robot", "--duration=20m").strip()) > 30
    kubectl.ok("create", "deployment", "web", "--image=nginx:1", "--port=80", "--replicas=0")
    assert store.get("Deployment", "default", "web")["spec"]["replicas"] == 0
    kubectl.ok("set", "env", "deployment/web", "A=1")
    kubectl.ok("set", "image", "deployment/web", "nginx=nginx:2")
    container = store.get("Deployment", "default", "web")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"]) == ("nginx:2", [{"name": "A", "value": "1"}])


def test_server_side_apply_isnt_there(kubectl):
    applied = kubectl.run("apply", "--server-side", "-f", "cm.yaml")
    assert applied.exit == 1
    assert "Server-side apply not available on the server" in applied.output


@pytest.fixture
def forwarded(kubectl, pod):
    """Local ports that lead to ports of the pod, which is this machine: one echoes, one is shut."""
    shut = socket.create_server(("127.0.0.1", 0))
    number = shut.getsockname()[1]
    shut.close()
    with listening() as echo:
        command = kubectl.command("port-forward", pod, f":{echo}", f":{number}")
        environment = kubectl.environment()
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            ports = {}
            while len(ports) < 2:
                local, far = re.search(r":(\d+) -> (\d+)", process.stdout.readline()).groups()
                ports[int(far)] = int(local)
                process.stdout.readline()  # the same for IPv6
            yield ports[echo], ports[number], process
            process.kill()


@contextlib.contextmanager
def listening():
    """A server that sends back what it gets, until the client ends; its port."""

    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            while data := self.rfile.read1():
                self.wfile.write(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_port_forward_joins_connections_to_a_pod(forwarded):
    port, shut, process = forwarded
    content = os.urandom(300_000)

    def upload(connection: socket.socket) -> None:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)

    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2)]
        for connection in both:
            threading.Thread(target=upload, args=(connection,)).start()
        assert [read_all(each) for each in both] == [content, content]
    with socket.create_connection(("127.0.0.1", shut)) as refused:
        assert read_all(refused) == b""
    said = ""
    while "error forwarding port" not in said:
        said = process.stdout.readline()
        assert said, "kubectl ended"


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    return b"".join(iter(lambda: connection.recv(65536), b""))
