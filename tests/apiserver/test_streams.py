"""Logs, exec, attach and port-forward over HTTP: what is refused, and what clients that go leave behind."""

import asyncio

import aiohttp
import pytest

from harness.apiclient import client
from harness.localcontainers import LocalContainers
from kcompile.apiserver import Store, serve

PODS = "/api/v1/namespaces/default/pods"
V5 = ["v5.channel.k8s.io"]
EXEC = f"{PODS}/p/exec?stdout=1&command=sleep&command=60&container=a"


def store() -> Store:
    made = Store()
    for name, node, names in (("p", "n1", "ab"), ("unplaced", "", "a")):
        spec = {"containers": [{"name": each, "image": "i"} for each in names]}
        spec |= {"nodeName": node} if node else {}
        meta = {"name": name, "namespace": "default"}
        made.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    return made


def run(work, containers):
    async def beside():
        async with serve(store(), containers=containers) as server, client(server.url) as asking:
            return await asyncio.wait_for(work(asking, server.url), 20)

    return asyncio.run(beside())


REFUSED = [
    ("GET", "p/log", 400, "a container name must be specified for pod p, choose one of: [a b]"),
    ("GET", "p/log?container=c", 400, "container c is not valid for pod p"),
    ("GET", "none/log", 404, 'pods "none" not found'),
    ("GET", "p/log?container=a&tailLines=x", 400, "can't be read"),
    ("GET", "p/log?container=a&limitBytes=0", 422, "must be greater than or equal to 1"),
    ("GET", "p/log?container=a&sinceTime=noon", 400, "can't be read"),
    ("GET", "p/log?container=a&previous=true", 400, "previous terminated container"),
    ("POST", "p/log", 405, "does not allow this method"),
    ("GET", "unplaced/exec?stdout=1&command=ls", 400, "does not have a host assigned"),
    ("POST", "p/exec?stdout=1&command=ls&container=a", 501, "not SPDY"),
    ("GET", "p/portforward", 400, "SPDY/3.1+portforward.k8s.io"),
]


def test_what_is_refused_before_a_stream_begins(tmp_path):
    async def work(asking, _url):
        return [await asking.ask(method, f"{PODS}/{path}") for method, path, *_ in REFUSED]

    for (method, path, code, message), answer in zip(
        REFUSED, run(work, LocalContainers(tmp_path)), strict=True
    ):
        assert (answer.status, message in answer.body["message"]) == (code, True), (method, path, answer)


def test_without_containers_it_is_501():
    async def work(asking, _url):
        parts = ("log", "exec", "attach", "portforward")
        return [(await asking.get(f"{PODS}/p/{part}")).status for part in parts]

    assert run(work, None) == [501] * 4


def test_the_log_of_a_pod_without_a_node_is_empty(tmp_path):
    async def work(asking, _url):
        return await asking.get(f"{PODS}/unplaced/log")

    answer = run(work, LocalContainers(tmp_path))
    assert (answer.status, answer.body) == (200, "")


@pytest.mark.parametrize("first", [[], [b"line\n"]], ids=["before anything came", "in the midst"])
def test_a_reader_of_a_log_that_goes_leaves_nobody_behind(tmp_path, first):
    containers = LocalContainers(tmp_path)

    async def work(_asking, url):
        containers.logs_of["p/a"] = [*first, asyncio.Event()]
        path = f"{PODS}/p/log?container=a&follow=true"
        async with aiohttp.ClientSession(url) as session, session.get(path) as response:
            assert response.status == 200
            if first:
                assert await response.content.read(5) == first[0]
        while containers.logs_ended < 1:
            await asyncio.sleep(0.01)

    run(work, containers)


def test_a_process_that_cant_start_is_a_status_over_the_websocket(tmp_path):
    path = f"{PODS}/p/exec?stdout=1&command=no-such-program&container=a"

    async def work(_asking, url):
        async with aiohttp.ClientSession(url) as session, session.ws_connect(path, protocols=V5) as socket:
            return await socket.receive_bytes()

    message = run(work, LocalContainers(tmp_path))
    assert message[0] == 3
    assert b"not found" in message


def test_a_websocket_that_is_cut_ends_its_process(tmp_path):
    containers = LocalContainers(tmp_path)

    async def work(_asking, url):
        async with aiohttp.ClientSession(url) as session:
            socket = await session.ws_connect(EXEC, protocols=["v4.channel.k8s.io"])
            while not containers.started:
                await asyncio.sleep(0.01)
            socket._response.connection.transport.abort()
            assert await containers.started[0].wait() == 137

    run(work, containers)


def test_what_isnt_spdy_ends_a_port_forward(tmp_path):
    path, protocols = f"{PODS}/p/portforward", ["SPDY/3.1+portforward.k8s.io"]

    async def work(_asking, url):
        async with (
            aiohttp.ClientSession(url) as session,
            session.ws_connect(path, protocols=protocols) as socket,
        ):
            await socket.send_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + bytes(1 << 16))
            await socket.receive()
            return socket.close_code

    assert run(work, LocalContainers(tmp_path)) == 1002
