"""What the name server answers over HTTP: its health, and Prometheus metrics.

A metric has CoreDNS's name where it means the same. docs/howto/dns.md has the list.

/health    200 while the server runs
/ready     200 once it has records, 503 before
/metrics   counted when they are asked for
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from .. import __version__
from ..agent.serve.pages import app_of, serve_app
from ..kernel.responder import listen
from .follow import Follower
from .serve import Server

if TYPE_CHECKING:
    from aiohttp.web import Request, StreamResponse
    from prometheus_client.core import Metric

__all__ = ["Status"]

_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}
_LAGS = [0.001 * 2**n for n in range(20)]  # CoreDNS's, for the time that a change takes
_OTHER = "dropped"
"""CoreDNS's value of the label zone, for questions about names that aren't the server's."""


class Status:
    """The pages of `server` and `follower`."""

    def __init__(self, server: Server, follower: Follower) -> None:
        from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

        self._server, self._follower = server, follower
        self._lag = Histogram(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "From the event of a change to its answers",
            buckets=_LAGS,
            registry=None,
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def serve(self, ip: str, port: int, stack: AsyncExitStack) -> None:
        """Answer until `stack` ends. Raises OSError."""
        pages = {"/health": self._health, "/ready": self._ready, "/metrics": self._metrics}
        await serve_app(app_of(pages), listen(port, ip), stack)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """None: prometheus_client then doesn't collect at registration to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield from self._questions()
        yield from self._records()

    def _questions(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        where = ["proto", "family", "zone"]
        requests = CounterMetricFamily(
            "coredns_dns_requests", "Questions that were answered", labels=[*where, "type"]
        )
        responses = CounterMetricFamily("coredns_dns_responses", "Answers", labels=[*where, "rcode"])
        for (protocol, version), counts in self._server.counts.items():
            by_type: dict[tuple[str, str], int] = {}
            by_rcode: dict[tuple[str, str], int] = {}
            for (zone, kind, rcode), number in list(counts.items()):
                asked, said = (zone or _OTHER, kind), (zone or _OTHER, _RCODES.get(rcode, str(rcode)))
                by_type[asked] = by_type.get(asked, 0) + number
                by_rcode[said] = by_rcode.get(said, 0) + number
            family = "2" if version == 6 else "1"
            for labels, number in by_type.items():
                requests.add_metric([protocol, family, *labels], number)
            for labels, number in by_rcode.items():
                responses.add_metric([protocol, family, *labels], number)
        yield requests
        yield responses
        if (forwarder := self._server.forwarder) is not None:
            yield CounterMetricFamily(
                "coredns_forward_requests", "Questions to other servers", forwarder.requests
            )
            yield CounterMetricFamily(
                "kcompile_dns_forward_failures", "Of them, those without an answer", forwarder.failures
            )

    def _records(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        lags, self._follower.lags = self._follower.lags, []
        for lag in lags:
            self._lag.observe(lag)
        yield from self._lag.collect()
        build = GaugeMetricFamily("kcompile_dns_info", "1, with the version", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        follower, zones = self._follower, self._server.answerer.zones
        yield GaugeMetricFamily("kcompile_dns_records", "Records", len(zones))
        yield CounterMetricFamily("kcompile_dns_changes", "Objects whose records changed", follower.changes)
        yield GaugeMetricFamily(
            "kcompile_dns_last_change_timestamp_seconds", "When records last changed", follower.changed
        )
        failing = GaugeMetricFamily(
            "kcompile_dns_source_failing", "1 while a kind can't be followed", labels=["kind"]
        )
        for kind in follower.failing:
            failing.add_metric([kind], 1)
        yield failing
        connections = len(self._server.connections)
        yield GaugeMetricFamily("kcompile_dns_connections", "Open TCP connections", connections)

    async def _health(self, _: Request) -> StreamResponse:
        from aiohttp import web

        return web.Response(text="OK")

    async def _ready(self, _: Request) -> StreamResponse:
        from aiohttp import web

        ready = self._follower.ready
        return web.Response(text="OK" if ready else "no records yet", status=200 if ready else 503)

    async def _metrics(self, _: Request) -> StreamResponse:
        from aiohttp import web
        from prometheus_client import CONTENT_TYPE_LATEST

        return web.Response(body=self.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
