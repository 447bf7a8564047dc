"""The agent's servers with real sockets, in a namespace that the kernel thread has entered and the event loop
hasn't.
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from harness import netns
from harness.ask import get, refused
from harness.drift import Node, service
from kcompile.agent.log import agent_log
from kcompile.agent.record import ProgrammedService, Record, Sync
from kcompile.agent.serve import Addresses, HealthCheckPorts, Servers
from kcompile.agent.serve.unix import ask
from kcompile.cli import main
from kcompile.errors import KcompileError
from kcompile.ir.model import HealthCheck
from kcompile.kernel import health
from kcompile.kernel.responder import EVERYWHERE

pytestmark = pytest.mark.kernel
PORT = 30900
T = TypeVar("T")


class Programmed:
    """An agent that has programmed one Service, 90 seconds ago."""

    mode = "iptables-legacy"

    def programmed(self) -> list[ProgrammedService]:
        return [ProgrammedService("demo/web", 3, 2, time.time() - 90, 0.004)]

    def resources(self) -> int:
        return 41


class Kernel:
    """A kernel thread in namespace `name`."""

    def __init__(self, name: str) -> None:
        self._entered = netns.enter(name)
        self._thread = ThreadPoolExecutor(1, initializer=self._entered.__enter__)

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        self._thread.shutdown()


@pytest.fixture
def place():
    with netns.group(["serve"]) as names:
        netns.run(names["serve"], ["ip", "link", "set", "lo", "up"])
        yield names["serve"]


@pytest.fixture
def kernel(place):
    thread = Kernel(place)
    yield thread
    thread.close()


async def until(done: Callable[[], Awaitable[Any]]) -> Any:
    """What `done` returns as soon as it is true; a port that isn't open yet is false."""
    deadline = time.monotonic() + 20
    while True:
        try:
            if got := await done():
                return got
        except ConnectionRefusedError:
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_health_metrics_and_status_are_answered_in_the_node_alone(place, kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / ("long" * 40)))
    directory = netns.run_directory(tmp_path / ("long" * 40), place)
    record, log = Record(), io.StringIO()
    runner = CliRunner()

    def status(*options: str) -> Any:
        return runner.invoke(main, ["status", "--netns", place, *options])

    async def scenario() -> None:
        none = await asyncio.to_thread(status)
        assert (none.exit_code, none.output) == (1, "kcompile: no agent runs on this node (kcompile run)\n")
        servers = Servers(record, Programmed(), Addresses(), limit=60, in_node=kernel, log=agent_log(log))
        running = asyncio.create_task(servers.run(directory))
        try:
            await until(lambda: kernel(lambda: get(10249, "/proxyMode")))
            assert refused(10256), "the event loop's namespace"
            assert (await kernel(lambda: get(10256, "/readyz")))[0] == 503
            record.queued("Service")
            record.synced(Sync(time.time(), 0.25, full=True, services=1, changes=41))
            for path, keys in (("healthz", {"nodeEligible"}), ("livez", set()), ("readyz", set())):
                code, body = await kernel(lambda path=path: get(10256, f"/{path}"))
                assert code == 200
                assert set(json.loads(body)) == {"lastUpdated", "currentTime", *keys}
            record.node(eligible=False)
            assert (await kernel(lambda: get(10256, "/healthz")))[0] == 503
            assert (await kernel(lambda: get(10256, "/livez")))[0] == 200
            assert await kernel(lambda: get(10249, "/proxyMode")) == (200, "iptables")
            assert (await kernel(lambda: get(10249, "/other")))[0] == 404
            _, text = await kernel(lambda: get(10249, "/metrics"))
            assert 'kubeproxy_proxy_healthz_total{code="503"} 1.0\n' in text
            assert "kubeproxy_sync_full_proxy_rules_duration_seconds_sum 0.25\n" in text
            assert "process_resident_memory_bytes " in text
            assert (directory / "agent.sock").stat().st_mode & 0o777 == 0o600
            record.bad("demo/api", "port 0")
            shown = await asyncio.to_thread(status)
            assert shown.exit_code == 0, shown.output
            agent, *_, header, api, web = shown.output.splitlines()
            assert agent.startswith("Agent: mode iptables-legacy, pid ")
            assert "up to date, node is being deleted" in agent
            assert header.split() == [
                "SERVICE",
                "FRONTENDS",
                "ENDPOINTS",
                "PROGRAMMED",
                "LAG",
                "PENDING",
                "ERROR",
            ]
            assert api.split() == ["demo/api", "0", "0", "never", "<none>", "<none>", "port", "0"]
            assert web.split() == ["demo/web", "3", "2", "90s", "ago", "4ms", "<none>", "<none>"]
            data = json.loads((await asyncio.to_thread(status, "-o", "json", "-n", "other")).output)
            assert data["services"] == []
            assert data["agent"]["lastSync"]["changes"] == 41
            assert data["agent"]["apiVersion"] == "kcompile.dev/v1alpha1"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert (await asyncio.to_thread(status)).exit_code == 1
        with pytest.raises(KcompileError, match="no agent runs"):
            ask(directory, "/status", dict)

    asyncio.run(scenario())
    assert log.getvalue() == ""


def test_a_taken_port_is_named_once_and_opened_when_it_is_free(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr("kcompile.agent.serve.servers._RETRY_SECONDS", 0.01)
    log = io.StringIO()

    async def scenario() -> None:
        taken = await kernel(lambda: socket.create_server(("127.0.0.1", 10249)))
        servers = Servers(
            Record(),
            Programmed(),
            Addresses(healthz="[::1]:10256"),
            limit=60,
            in_node=kernel,
            log=agent_log(log),
        )
        running = asyncio.create_task(servers.run(tmp_path / "run" / "ns"))
        try:
            await until(lambda: kernel(lambda: get(10256, "/livez", "::1")))
            await until(lambda: asyncio.sleep(0, log.getvalue()))
            taken.close()
            await until(lambda: kernel(lambda: get(10249, "/metrics")))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert (
        log.getvalue().partition(" ")[2] == "warning 127.0.0.1:10249: Address already in use; tried again\n"
    )


def lb(port: int, count: int) -> HealthCheck:
    return HealthCheck(port, "demo", f"lb-{port}", count)


def test_health_check_ports(place, kernel):
    """Counts, other addresses, a port that is taken, and the end of them all."""
    netns.run(place, ["ip", "address", "add", "192.0.2.1/32", "dev", "lo"])

    async def scenario() -> None:
        healthy = True
        ports = HealthCheckPorts(asyncio.get_running_loop(), lambda: healthy)
        try:
            assert await kernel(lambda: ports.replace([lb(PORT, 2)], [EVERYWHERE])) == []
            code, body = await until(lambda: kernel(lambda: get(PORT)))
            assert (code, json.loads(body)["localEndpoints"]) == (200, 2)
            open_one = await kernel(lambda: socket.create_connection(("::1", PORT), timeout=10))
            await kernel(lambda: ports.replace([lb(PORT, 0)], [EVERYWHERE]))
            assert (await kernel(lambda: get(PORT)))[0] == 503
            await kernel(lambda: ports.replace([lb(PORT, 1)], [EVERYWHERE]))
            await kernel(lambda: open_one.sendall(b"GET / HTTP/1.1\r\n\r\n"))
            assert (await kernel(lambda: open_one.recv(4096))).startswith(b"HTTP/1.1 200 ")
            open_one.close()
            healthy = False
            code, body = await kernel(lambda: get(PORT))
            assert (code, json.loads(body)["serviceProxyHealthy"]) == (503, False)
            healthy = True

            assert await kernel(lambda: ports.replace([lb(PORT, 1)], ["192.0.2.1", "::1"])) == []
            assert (await until(lambda: kernel(lambda: get(PORT, host="192.0.2.1"))))[0] == 200
            assert (await kernel(lambda: get(PORT, host="::1")))[0] == 200
            assert await kernel(lambda: refused(PORT))

            both = [lb(PORT, 1), lb(PORT + 1, 1)]
            taken = await kernel(lambda: socket.create_server(("", PORT + 1)))
            (warning,) = await kernel(lambda: ports.replace(both, ["192.0.2.1"]))
            assert str(warning) == (
                "Service demo/lb-30901: health check port 30901: Address already in use; "
                "load balancers get no answer until it is free"
            )
            assert ports.failed
            assert await kernel(lambda: ports.replace(both, ["192.0.2.1"])) == []
            taken.close()
            assert await kernel(lambda: ports.replace(both, ["192.0.2.1"])) == []
            assert not ports.failed
            assert (await until(lambda: kernel(lambda: get(PORT + 1, host="192.0.2.1"))))[0] == 200
            assert await kernel(lambda: refused(PORT, "::1"))

            await kernel(lambda: ports.replace([lb(PORT, 1)], ["192.0.2.1"]))
            await until(lambda: kernel(lambda: refused(PORT + 1, "192.0.2.1")))
        finally:
            ports.close()
        assert await kernel(lambda: refused(PORT, "192.0.2.1"))

    asyncio.run(scenario())


def test_the_ports_of_an_apply_are_taken_over(place, kernel, tmp_path: Path):
    node = Node(place, tmp_path, "nftables")
    ports = [{"name": "p", "port": 80, "nodePort": 30080}]
    options = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": PORT}
    node.apply(service("lb", 1, ports=ports, **options))
    (directory,) = tmp_path.rglob("health.json")

    async def scenario() -> None:
        checks = HealthCheckPorts(asyncio.get_running_loop(), lambda: True)

        def begin() -> list[Any]:
            checks.take_over(directory.parent)
            return checks.replace([lb(PORT, 1)], [EVERYWHERE])

        try:
            assert await kernel(begin) == []
            assert (await until(lambda: kernel(lambda: get(PORT))))[0] == 200
            assert health.running(directory.parent) == health.unanswered(directory.parent) == []
        finally:
            checks.close()

    try:
        asyncio.run(scenario())
    finally:
        assert node.run("delete").exit_code == 0
    assert netns.pids(place) == []
