"""What kubelet and a network plugin do on a node, for the sample: python pods.py MANIFESTS NODE PEM.

Each pod of NODE is a network namespace on a routed veth pair, and a server on each of its container ports,
443 with TLS, that answers with one line: ``node/pod peer``. Routes lead to the pods of other nodes. Tells
systemd when all is up, then serves until it is ended.
"""

import ctypes
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

POD_GATEWAY = "169.254.1.1"
TLS_PORT = 443
CLONE_NEWNET = 0x40000000


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: a connection for each request."""

    timeout = 10

    def do_GET(self):
        body = f"{self.server.who} {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """`who` is what it answers; `tls` is None on ports without."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, who: str, tls: ssl.SSLContext | None):
        super().__init__(("", port), Handler)
        self.who, self.tls = who, tls

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # http.server's own asks DNS for this machine's name, too

    def finish_request(self, request, client_address):
        if self.tls:  # here, in the request's own thread, so that a slow client delays nobody
            request.settimeout(Handler.timeout)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if self.tls:
            request.close()

    def handle_error(self, request, client_address):
        pass  # a client that went away


def objects(folder: Path, kind: str) -> list[dict]:
    found = []
    for path in sorted(folder.iterdir()):
        found += [document for document in yaml.safe_load_all(path.read_text()) if document]
    for each in list(found):
        if each["kind"] == "List":
            found += each["items"]
    return [each for each in found if each["kind"] == kind]


def ip(*lines: str, namespace: str = "") -> None:
    command = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    subprocess.run(command, input="".join(f"{line}\n" for line in lines), text=True, check=True)


def listen(namespace: str, ports: list[int], who: str, tls: ssl.SSLContext) -> None:
    """Sockets stay in the namespace that they were made in; this thread comes back."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")
        servers = [Server(port, who, tls if port == TLS_PORT else None) for port in ports]
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


def lay(pod: dict, number: int, node_ip: str) -> None:
    """The pod's namespace, in the place of an earlier one."""
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    # the link first: the kernel removes a namespace's links later than its name
    for earlier in (["link", "delete", f"pod{number}"], ["netns", "delete", name]):
        subprocess.run(["ip", *earlier], check=False, stderr=subprocess.DEVNULL)
    ip(
        f"netns add {name}",
        f"link add pod{number} type veth peer name eth0 netns {name}",
        f"address add {POD_GATEWAY}/32 dev pod{number} scope link",
        f"link set pod{number} up",
        f"route add {address}/32 dev pod{number} src {node_ip}",
    )
    ip(
        "link set lo up",
        f"address add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {POD_GATEWAY} dev eth0 scope link",
        f"route add default via {POD_GATEWAY}",
        namespace=name,
    )


def main() -> None:
    folder, name, pem = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    address = {
        n["metadata"]["name"]: next(
            a["address"] for a in n["status"]["addresses"] if a["type"] == "InternalIP"
        )
        for n in objects(folder, "Node")
    }
    if name not in address:
        raise SystemExit(f"pods: no Node {name} in {folder}")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    others = [n for n in objects(folder, "Node") if n["metadata"]["name"] != name]
    ip(*(f"route replace {n['spec']['podCIDR']} via {address[n['metadata']['name']]}" for n in others))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    for number, pod in enumerate(p for p in objects(folder, "Pod") if p["spec"]["nodeName"] == name):
        lay(pod, number, address[name])
        ports = [
            port["containerPort"] for container in pod["spec"]["containers"] for port in container["ports"]
        ]
        listen(pod["metadata"]["name"], ports, f"{name}/{pod['metadata']['name']}", tls)
    if ready := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.sendto(b"READY=1", ready)
    threading.Event().wait()


if __name__ == "__main__":
    main()
