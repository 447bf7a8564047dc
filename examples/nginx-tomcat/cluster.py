"""The demo's cluster: nodes, pods and a client, each a network namespace, joined by a fabric that is one too.

             client 203.0.113.7
                      │
    ┌──────── fabric (routes) ────────┐
    │ 192.0.2.10             192.0.2.11 │
  node-a                          node-b
    ├── pod 10.244.0.11             ├── pod 10.244.1.11
    └── ...                         └── ...

Addresses come from nodes.yaml and pods.yaml. Pods hang on their node by a routed veth pair, as most network plugins do it.
No interface leads to this machine's own network.
"""

import contextlib
import ctypes
import http.client
import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from harness import netns

HERE = Path(__file__).resolve().parent
CLIENT, GATEWAY, CLIENT_GATEWAY, POD_GATEWAY = "203.0.113.7", "192.0.2.1", "203.0.113.1", "169.254.1.1"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Pod:
    name: str
    app: str
    node: str
    ip: str
    ports: tuple[int, ...]

    @property
    def short(self) -> str:
        """The part of the name that tells it from its sisters."""
        return self.name.rsplit("-", 1)[1]


@dataclass(frozen=True)
class Node:
    name: str
    ip: str
    pod_cidr: str


@dataclass
class Cluster:
    nodes: dict[str, Node]
    pods: list[Pod]
    space: dict[str, str] = field(default_factory=dict)  # role (node, pod, "client", "fabric") -> namespace
    trust: ssl.SSLContext | None = None

    def get(self, role: str, ip: str, port: int, tls: bool = False, timeout: float = 2.0) -> dict[str, str]:
        """One HTTP request from the namespace of `role`, on a connection of its own; what the server said."""
        with netns.enter(self.space[role]):  # a socket stays in the namespace it was made in
            connection = (
                http.client.HTTPSConnection(ip, port, timeout=timeout, context=self.trust)
                if tls
                else http.client.HTTPConnection(ip, port, timeout=timeout)
            )
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", "/")
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise OSError(f"HTTP {response.status}")
            return json.loads(response.read())


def manifests(name: str) -> list[dict]:
    return [document for document in yaml.safe_load_all((HERE / name).read_text()) if document]


def read() -> Cluster:
    nodes = {
        n["metadata"]["name"]: Node(
            n["metadata"]["name"],
            next(a["address"] for a in n["status"]["addresses"] if a["type"] == "InternalIP"),
            n["spec"]["podCIDR"],
        )
        for n in manifests("nodes.yaml")
    }
    pods = [
        Pod(
            p["metadata"]["name"],
            p["metadata"]["labels"]["app"].removesuffix("-selector"),
            p["spec"]["nodeName"],
            p["status"]["podIP"],
            tuple(port["containerPort"] for c in p["spec"]["containers"] for port in c["ports"]),
        )
        for p in manifests("pods.yaml")
    ]
    return Cluster(nodes, pods)


def wire(cluster: Cluster) -> None:
    """Lay the whole network, one `ip -batch` a namespace."""
    space, nodes = cluster.space, cluster.nodes.values()
    fabric = [
        "link add bridge type bridge",
        f"address add {GATEWAY}/24 dev bridge",
        "link set bridge up",
        f"link add client type veth peer name eth0 netns {space['client']}",
        f"address add {CLIENT_GATEWAY}/24 dev client",
        "link set client up",
    ]
    for node in nodes:
        fabric += [
            f"link add {node.name} type veth peer name eth0 netns {space[node.name]}",
            f"link set {node.name} master bridge up",
            f"route add {node.pod_cidr} via {node.ip}",
        ]
    for name in space.values():
        netns.batch(["link set lo up"], name)
    netns.batch(fabric, space["fabric"])
    netns.batch([f"address add {CLIENT}/24 dev eth0", "link set eth0 up", f"route add default via {CLIENT_GATEWAY}"], space["client"])
    for node in nodes:
        lines = [f"address add {node.ip}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}"]
        lines += [f"route add {other.pod_cidr} via {other.ip}" for other in nodes if other != node]
        for number, pod in enumerate(cluster.pods):
            if pod.node == node.name:
                lines += [
                    f"link add pod{number} type veth peer name eth0 netns {space[pod.name]}",
                    f"address add {POD_GATEWAY}/32 dev pod{number} scope link",
                    f"link set pod{number} up",
                    f"route add {pod.ip}/32 dev pod{number} src {node.ip}",
                ]
        netns.batch(lines, space[node.name])
    for pod in cluster.pods:
        to_node = [f"route add {POD_GATEWAY} dev eth0 scope link", f"route add default via {POD_GATEWAY}"]
        netns.batch([f"address add {pod.ip}/32 dev eth0", "link set eth0 up", *to_node], space[pod.name])


def certificate(folder: Path) -> Path:
    """A self-signed certificate with its key, in one file."""
    path, key = folder / "nginx.pem", folder / "nginx.key"
    name = "nginx-service.myserver.svc"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -keyout {key} -out {path}"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run([*command.split(), *subject], check=True, capture_output=True)
    path.write_text(key.read_text() + path.read_text())
    return path


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """The cluster, wired and with a web server in each pod; nothing of it is left at the end."""
    cluster = read()
    pem = certificate(folder)
    cluster.trust = ssl.create_default_context(cafile=str(pem))
    cluster.trust.check_hostname = False  # it is addressed by IP
    roles = ["fabric", "client", *cluster.nodes, *(pod.name for pod in cluster.pods)]
    with netns.group(roles) as cluster.space, contextlib.ExitStack() as servers:
        for role in ("fabric", *cluster.nodes):
            netns.sysctl(cluster.space[role], {"ipv4/ip_forward": 1})
        wire(cluster)
        started = []
        for pod in cluster.pods:
            arguments = [pod.name, pod.node, *map(str, pod.ports), "--certificate", str(pem)]
            with netns.enter(cluster.space[pod.name]):
                server = subprocess.Popen(
                    [sys.executable, str(HERE / "server.py"), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                    preexec_fn=die_with_parent,
                    process_group=0,
                )
            servers.enter_context(server)
            servers.callback(server.kill)
            started.append(server)
        for pod, server in zip(cluster.pods, started, strict=True):
            if server.stdout is None or server.stdout.readline() != "ready\n":
                raise RuntimeError(f"the server of pod {pod.name} did not start")
        yield cluster
