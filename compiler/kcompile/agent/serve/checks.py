"""healthCheckNodePorts in the agent's process (healthcheck/service_health.go).

The kernel thread opens the ports, in the node's network namespace; the event loop answers there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ...ir.model import HealthCheck
from ...ir.node import NodeFacts
from ...kernel import health
from ...kernel.responder import EVERYWHERE, SWEEP_SECONDS, Responder, listen
from ...notices import Notice

__all__ = ["HealthCheckPorts", "check_addresses"]

_Sockets = Sequence[socket.socket]


def check_addresses(node: NodeFacts) -> tuple[str, ...]:
    """Where health checks are answered: on the addresses of NodePorts, as kube-proxy does."""
    if node.node_ports4 is None and node.node_ports6 is None:
        return (EVERYWHERE,)
    version4 = ("0.0.0.0",) if node.node_ports4 is None else node.node_ports4
    version6 = ("::",) if node.node_ports6 is None else node.node_ports6
    return (*version4, *version6)


class HealthCheckPorts:
    """The ports of one agent. Made and closed in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, healthy: Callable[[], bool]) -> None:
        self._loop = loop
        self._responder = Responder(healthy=healthy)
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        # The kernel thread's: where each open port listens, and the Services that were warned of.
        self._open: dict[int, tuple[tuple[str, ...], _Sockets]] = {}
        self._warned: dict[int, str] = {}
        loop.add_reader(self._responder.fileno(), self._turn)

    # ---- in the kernel thread

    def replace(self, checks: Iterable[HealthCheck], addresses: Iterable[str]) -> list[Notice]:
        """Answer exactly `checks` on `addresses` (`check_addresses`). Ports that are open there stay open.
        Call it again to retry those that failed.

        :return: a warning for each Service whose port can't be opened, once until it can
        """
        wanted = {check.port: check for check in checks}
        places = tuple(addresses)
        for port in self._open.keys() - wanted.keys():
            _free(self._open.pop(port)[1])
        opened: dict[int, _Sockets] = {}
        errors: dict[int, str] = {}
        for port in wanted:
            held, sockets = self._open.pop(port, ((), ()))
            if held != places:
                _free(sockets)
                opened[port], errors[port] = sockets, _ = _opened(port, places)
            if not errors.get(port):
                self._open[port] = (places, sockets)
        self._loop.call_soon_threadsafe(self._answer, wanted, opened)
        return self._warnings(wanted, errors)

    def _warnings(self, wanted: Mapping[int, HealthCheck], errors: Mapping[int, str]) -> list[Notice]:
        """Warn of each of `errors` that was not said of its Service before."""
        warnings, warned = [], {}
        for port, error in errors.items():
            if error:
                warned[port] = service = f"{wanted[port].namespace}/{wanted[port].service}"
                if self._warned.get(port) != service:
                    text = f"health check port {port}: {error}; load balancers get no answer until it is free"
                    warnings.append(Notice("health-port", text, object=f"Service {service}"))
        self._warned = warned
        return warnings

    def take_over(self, directory: Path) -> None:
        """End the responder process that an `apply` left in the run directory `directory`; its ports are free
        then. Call `replace` right after.
        """
        if health.running(directory):
            health.serve(directory, [])

    @property
    def failed(self) -> bool:
        """Whether a port couldn't be opened: call `replace` again."""
        return bool(self._warned)

    # ---- in the event loop's thread

    def close(self) -> None:
        """Close the ports and their connections."""
        self._closed = True
        self._loop.remove_reader(self._responder.fileno())
        if self._sweep is not None:
            self._sweep.cancel()
        self._responder.close()

    def _answer(
        self, checks: Mapping[int, HealthCheck], opened: Mapping[int, Sequence[socket.socket]]
    ) -> None:
        if not self._closed:
            self._responder.answer(checks, opened)
            return
        for sockets in opened.values():
            for each in sockets:
                each.close()

    def _turn(self) -> None:
        """Serve what is ready; come back to close idle clients while there are any."""
        self._responder.step(0)
        if self._sweep is None and self._responder.clients:
            self._sweep = self._loop.call_later(SWEEP_SECONDS, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        self._turn()


def _opened(port: int, addresses: Sequence[str]) -> tuple[_Sockets, str]:
    """Sockets that listen on `port` at all of `addresses`; or none, and the error of the first that fails."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for address in addresses:
            try:
                sockets.append(stack.enter_context(listen(port, address)))
            except OSError as e:
                return (), e.strerror or str(e)
        stack.pop_all()
    return sockets, ""


def _free(sockets: _Sockets) -> None:
    """Stop listening, so that the port can be opened on other addresses. The event loop closes `sockets`."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
