"""Applications of other people come up whole with stand-ins, in all that their manifests ask of a kubelet."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.kubelets import KubeletLab, documents
from kcompile.kernel.netns import entered
from kcompile.lab import netns

DATA = Path(__file__).parent / "data"
NAME = f"stand{os.getpid()}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    with KubeletLab(NAME, tmp_path_factory.mktemp("lab"), stand_ins=True) as lab:
        yield lab
    assert netns.of_lab(NAME) == []


def pods_of(application: str) -> list[dict[str, Any]]:
    """A pod of each Deployment of the file."""
    found = []
    for each in documents(DATA / f"{application}.yaml"):
        if each["kind"] == "Deployment":
            template = each["spec"]["template"]
            meta = {
                **template["metadata"],
                "name": f"{application}-{each['metadata']['name']}",
                "namespace": "default",
            }
            found.append({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
    return found


@pytest.mark.parametrize("application", ["bookinfo", "boutique", "guestbook"])
def test_an_application_comes_up_and_answers_on_its_ports(lab: KubeletLab, application: str):
    pods = pods_of(application)
    names = [pod["metadata"]["name"] for pod in pods]
    assert len(names) > 1

    async def work() -> None:
        for pod in pods:
            lab.create(pod)
        await lab.until(lambda: all(map(lab.ready, names)), 60)

    try:
        lab.run(work())
    except TimeoutError:
        pytest.fail("\n".join(f"{name}: {lab.status(name)} {lab.events(name)}" for name in names))
    for pod in pods:
        name = pod["metadata"]["name"]
        for port in pod["spec"]["containers"][0]["ports"]:
            address = (lab.status(name)["podIP"], port["containerPort"])
            if port.get("protocol") == "UDP":
                assert datagram(address, b"ping") == b"ping"
            elif "redis" not in name:
                answer = json.loads(
                    request(address, b"GET /x HTTP/1.0\r\nX-Own: 1\r\n\r\n").partition(b"\r\n\r\n")[2]
                )
                assert (answer["pod"], answer["node"], answer["headers"]["X-Own"]) == (name, "node-a", "1")


def test_a_stand_in_gives_back_what_is_not_http(lab: KubeletLab):
    address = (lab.status("guestbook-redis-leader")["podIP"], 6379)
    assert request(address, b"*1\r\n$4\r\nPING\r\n") == b"*1\r\n$4\r\nPING\r\n"


def request(address: tuple[str, int], data: bytes) -> bytes:
    """What a TCP server says to `data`, from the node."""
    with connection(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def connection(address: tuple[str, int]) -> socket.socket:
    """A pod without a readiness probe is ready before it listens: wait for it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with entered(netns.netns_name(NAME, "node", "node-a")):
                return socket.create_connection(address, timeout=5)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def datagram(address: tuple[str, int], data: bytes) -> bytes:
    with entered(netns.netns_name(NAME, "node", "node-a")), socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(data, address)
        return client.recv(1 << 16)
