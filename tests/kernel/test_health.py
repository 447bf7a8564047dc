"""The health check responder against clients that say nothing, too much, or the same again; real sockets in a
namespace of its own.
"""

import contextlib
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import netns
from harness.drift import Node, service
from kcompile.ir.model import HealthCheck
from kcompile.kernel import responder
from kcompile.kernel.responder import Responder

pytestmark = pytest.mark.kernel
PORT = 30900
ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def place():
    with netns.group(["health"]) as names:
        netns.run(names["health"], ["ip", "link", "set", "lo", "up"])
        yield names["health"]


@pytest.fixture
def serving(place):
    """A responder in a thread of this process, with 3 local endpoints behind PORT."""
    wake, end = socket.socketpair()
    with netns.enter(place):
        server = Responder(wake)
        assert server.update({PORT: HealthCheck(PORT, "demo", "lb", 3)}) == []
        thread = threading.Thread(target=server.turn, args=(60.0,))
        thread.start()
        try:
            yield server
        finally:
            end.send(b"x")
            thread.join()
            server.update({})
            wake.close()
            end.close()


def client() -> socket.socket:
    return socket.create_connection(("127.0.0.1", PORT), timeout=5)


def ask(request: bytes = ASK) -> bytes:
    """The whole answer to one request."""
    with client() as one:
        one.sendall(request)
        return answer(one)


def answer(one: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = one.recv(4096)
        assert more, f"closed after {data!r}"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    while len(body) < length and not head.startswith(b"HTTP/1.1 4"):
        more = one.recv(4096)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


def closed(one: socket.socket) -> bool:
    """Whether the other side has ended the connection by now."""
    one.setblocking(False)
    try:
        return one.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_answers(serving):
    told = ask()
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Load-Balancing-Endpoint-Weight: 3\r\n" in told
    assert told.endswith(
        b'{"service": {"namespace": "demo", "name": "lb"}, "localEndpoints": 3, "serviceProxyHealthy": true}'
    )
    assert ask(b"GET / HTTP/1.0\n\n").startswith(b"HTTP/1.1 200 ")
    assert ask(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\n")
    assert ask(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody").startswith(b"HTTP/1.1 200 ")
    assert ask(b"hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert ask(b"GET /" + b"x" * 9000).startswith(b"HTTP/1.1 431 ")
    assert serving.update({PORT: HealthCheck(PORT, "demo", "lb", 0)}) == []
    assert ask().startswith(b"HTTP/1.1 503 ")


@pytest.mark.usefixtures("serving")
def test_a_connection_goes_on_for_as_long_as_it_asks():
    with client() as one:
        for _ in range(3):
            one.sendall(ASK[:20])
            one.sendall(ASK[20:])
            assert answer(one).startswith(b"HTTP/1.1 200 ")
        one.sendall(ASK + ASK)
        both = b""
        while both.count(b"serviceProxyHealthy") < 2:
            both += one.recv(4096)
        one.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer(one).startswith(b"HTTP/1.1 200 ")
        assert one.recv(1) == b""


@pytest.mark.usefixtures("serving", "many_files")
def test_who_says_nothing_is_left_and_the_others_are_answered(monkeypatch):
    monkeypatch.setattr(responder, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(responder, "IDLE_SECONDS", 1.0)
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(client())
        asked.sendall(ASK)
        answer(asked)
        dripping = stack.enter_context(client())
        silent = [stack.enter_context(client()) for _ in range(200)]
        deadline = time.monotonic() + 30
        waiting = [asked, dripping, *silent]
        while waiting and time.monotonic() < deadline:
            assert ask().startswith(b"HTTP/1.1 200 ")
            with contextlib.suppress(OSError):  # a byte at a time is no request either
                dripping.send(b"x")
            waiting = [one for one in waiting if not closed(one)]
            time.sleep(0.05)
        assert not waiting
        assert ask().startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("serving")
def test_the_longest_silent_makes_room(monkeypatch):
    monkeypatch.setattr(responder, "CLIENTS", 4)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(client())
        first.sendall(ASK)
        answer(first)
        silent = [stack.enter_context(client()) for _ in range(3)]
        time.sleep(0.1)
        first.sendall(ASK)
        assert answer(first).startswith(b"HTTP/1.1 200 ")
        last = stack.enter_context(client())
        last.sendall(ASK)
        assert answer(last).startswith(b"HTTP/1.1 200 ")
        assert [closed(one) for one in (silent[0], silent[1], silent[2], first, last)] == [
            True,
            False,
            False,
            False,
            False,
        ]


def lb() -> list[dict]:
    ports = [{"name": "p", "port": 80, "nodePort": 30080}]
    return service(
        "lb", 1, type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=PORT, ports=ports
    )


@pytest.mark.usefixtures("many_files")
def test_1100_silent_clients_of_the_process_that_apply_leaves(place, tmp_path):
    node = Node(place, tmp_path, "nftables")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # what it is started with must not matter; this process may have many files open itself
    few = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 128
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        node.apply(lb())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        (pid,) = [
            pid for pid in netns.pids(place) if b"kcompile" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        with netns.enter(place), contextlib.ExitStack() as stack:
            assert node.tool("ss", "-ltnH", f"sport = :{PORT}").split()[2] == str(responder.BACKLOG)
            silent = [stack.enter_context(client()) for _ in range(1100)]
            assert ask().startswith(b"HTTP/1.1 503 ")
            assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
            assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= responder.CLIENTS + 16
            assert sum(closed(one) for one in silent) >= 1100 - responder.CLIENTS
    finally:
        assert node.run("delete").exit_code == 0
    assert netns.pids(place) == []
