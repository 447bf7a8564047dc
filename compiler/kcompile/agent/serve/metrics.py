"""Prometheus metrics of one agent, in a registry of its own.

A metric has kube-proxy's name where it means the same (pkg/proxy/metrics/metrics.go). kube-proxy's label
ip_family is left out: one sync programs both families. docs/reference/metrics.md has the list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import __version__
from ..record import Programmed, Record, Sync

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client.core import Metric

__all__ = ["Metrics"]

_SYNC_SECONDS = [0.001 * 2**n for n in range(15)]  # kube-proxy's
_PROGRAMMING_SECONDS = [0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30)]  # kube-proxy's
_WAIT_SECONDS = [0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
_SIZES = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000]


class _Totals(NamedTuple):
    """What is programmed after `sync` syncs. `lacking`: Services without a local endpoint, by policy."""

    sync: int
    services: int
    frontends: int
    endpoints: int
    lacking: dict[str, int]


class Metrics:
    """`text` is what a scrape gets. A sync is observed when `record` hears of it, the rest at the scrape."""

    def __init__(self, record: Record, agent: Programmed) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._record, self._agent = record, agent
        self._answers: dict[tuple[str, int], int] = {}
        self._totals: _Totals | None = None
        self._duration = _histogram("kubeproxy_sync_proxy_rules_duration_seconds", _SYNC_SECONDS)
        self._full = _histogram("kubeproxy_sync_full_proxy_rules_duration_seconds", _SYNC_SECONDS)
        self._partial = _histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds", _SYNC_SECONDS)
        self._programming = _histogram("kubeproxy_network_programming_duration_seconds", _PROGRAMMING_SECONDS)
        self._waited = _histogram("kcompile_change_wait_seconds", _WAIT_SECONDS)
        self._changes = _histogram("kcompile_sync_changes", _SIZES)
        self._services = _histogram("kcompile_sync_services", _SIZES)
        self.registry: CollectorRegistry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        record.listen(self._observe)

    def answered(self, path: str, status: int) -> None:
        """The health server has answered `path` with `status`."""
        self._answers[path, status] = self._answers.get((path, status), 0) + 1

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    def describe(self) -> list[Metric]:
        """None: prometheus_client then doesn't collect at registration to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield from self._kube_proxy()
        yield from self._objects()
        yield from self._work()
        yield from self._sources()

    def _observe(self, sync: Sync) -> None:
        end = sync.started + sync.seconds
        self._duration.observe(sync.seconds)
        (self._full if sync.full else self._partial).observe(sync.seconds)
        for trigger in sync.triggers:
            self._programming.observe(max(0.0, end - trigger))  # the clocks of two machines
        self._changes.observe(sync.changes)
        self._services.observe(sync.services)
        if not sync.full:
            self._waited.observe(sync.waited)

    def _kube_proxy(self) -> Iterator[Metric]:
        record, counts, prefix = self._record, self._record.counts, "kubeproxy_sync_proxy_rules_"
        for histogram in (self._duration, self._full, self._partial, self._programming):
            yield from _without_created(histogram)
        last = record.last_sync
        yield _gauge(f"{prefix}last_timestamp_seconds", last.started + last.seconds if last else 0)
        yield _gauge(f"{prefix}last_queued_timestamp_seconds", record.last_queued)
        yield _counter(f"{prefix}endpoint_changes", counts.events.get("EndpointSlice", 0))
        yield _gauge(f"{prefix}endpoint_changes_pending", counts.pending.get("EndpointSlice", 0))
        yield _counter(f"{prefix}service_changes", counts.events.get("Service", 0))
        yield _gauge(f"{prefix}service_changes_pending", counts.pending.get("Service", 0))
        for path in ("healthz", "livez"):
            codes = {str(code): n for (asked, code), n in self._answers.items() if asked == path}
            yield _counters(f"kubeproxy_proxy_{path}", "code", codes)

    def _objects(self) -> Iterator[Metric]:
        totals = self._counted()
        name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total"
        yield _gauges(name, "traffic_policy", totals.lacking)
        yield _gauges("kcompile_info", "mode", {self._agent.mode: 1}, {"version": __version__})
        yield _gauge("kcompile_services", totals.services)
        yield _gauge("kcompile_frontends", totals.frontends)
        yield _gauge("kcompile_endpoints", totals.endpoints)
        yield _gauge("kcompile_resources", self._agent.resources())
        yield _gauge("kcompile_services_failed", len(self._record.errors))
        filling = self._record.filling
        entries = {name: count for name, (count, _) in filling.items()}
        yield _gauges("kcompile_flow_map_entries", "map", entries)
        yield _gauges(
            "kcompile_flow_map_capacity", "map", {name: room for name, (_, room) in filling.items()}
        )

    def _counted(self) -> _Totals:
        """The totals after the last sync: every Service is looked at, so once a sync at most."""
        sync = self._record.counts.syncs
        if self._totals is None or self._totals.sync != sync:
            programmed = [service for service in self._agent.programmed() if service.frontends]
            policies = [policy for service in programmed for policy in service.no_local_endpoints]
            self._totals = _Totals(
                sync,
                len(programmed),
                sum([service.frontends for service in programmed]),
                sum([service.endpoints for service in programmed]),
                {policy: policies.count(policy) for policy in ("internal", "external")},
            )
        return self._totals

    def _work(self) -> Iterator[Metric]:
        record, counts = self._record, self._record.counts
        for histogram in (self._waited, self._changes, self._services):
            yield from _without_created(histogram)
        yield _gauge("kcompile_pending_seconds", record.pending_seconds or 0)
        failures = {"full": counts.full_failures, "partial": counts.partial_failures}
        yield _counters("kcompile_sync_failures", "sync", failures)
        error = record.last_error
        yield _gauge("kcompile_last_error_timestamp_seconds", error.moment if error else 0)
        yield _counter("kcompile_drifts", counts.drifts)
        yield _counter("kcompile_drifted_resources", counts.drifted)

    def _sources(self) -> Iterator[Metric]:
        sources = self._record.sources
        yield _gauges("kcompile_source_failing", "kind", {s.kind: int(s.state == "failing") for s in sources})
        restarted = self._record.counts.restarted
        yield _counters(
            "kcompile_watch_restarts", "kind", {s.kind: restarted.get(s.kind, 0) for s in sources}
        )
        yield _gauge("kcompile_node_eligible", int(self._record.node_eligible))
        yield _gauge("kcompile_uptime_seconds", time.time() - self._record.started)


_HELP = {
    "kubeproxy_sync_proxy_rules_duration_seconds": "How long syncs took",
    "kubeproxy_sync_full_proxy_rules_duration_seconds": "How long syncs of all Services took",
    "kubeproxy_sync_partial_proxy_rules_duration_seconds": "How long syncs of changed Services took",
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds": "When the last sync ended, 0 before the first",
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds": "When the last change arrived",
    "kubeproxy_network_programming_duration_seconds": "From an endpoint's change in the cluster to its rules",
    "kubeproxy_sync_proxy_rules_endpoint_changes": "Changes of EndpointSlices that arrived",
    "kubeproxy_sync_proxy_rules_endpoint_changes_pending": "Of them, those not programmed yet",
    "kubeproxy_sync_proxy_rules_service_changes": "Changes of Services that arrived",
    "kubeproxy_sync_proxy_rules_service_changes_pending": "Of them, those not programmed yet",
    "kubeproxy_sync_proxy_rules_no_local_endpoints_total": "Services with policy Local and no endpoint here",
    "kubeproxy_proxy_healthz": "Answers of /healthz",
    "kubeproxy_proxy_livez": "Answers of /livez",
    "kcompile_info": "1, with version and mode",
    "kcompile_services": "Programmed Services",
    "kcompile_frontends": "Addresses and ports that programmed Services answer on",
    "kcompile_endpoints": "Endpoints in use, counted once a Service",
    "kcompile_resources": "Resources that the kernel holds of the mode's program",
    "kcompile_services_failed": "Services that can't be programmed as their objects are now",
    "kcompile_flow_map_entries": "Entries of established connections in mode xdp",
    "kcompile_flow_map_capacity": "Entries that the map has room for",
    "kcompile_change_wait_seconds": "From the oldest event that a sync of changed Services had to its rules",
    "kcompile_sync_changes": "Resources that a sync wrote",
    "kcompile_sync_services": "Services that a sync handled",
    "kcompile_pending_seconds": "How long the oldest change has waited that isn't programmed, 0 without any",
    "kcompile_sync_failures": "Syncs that failed",
    "kcompile_last_error_timestamp_seconds": "When a sync last failed, 0 if never",
    "kcompile_drifts": "Times that the kernel held something else than was written",
    "kcompile_drifted_resources": "Resources that were repaired",
    "kcompile_source_failing": "1 while a kind of object can't be followed",
    "kcompile_watch_restarts": "Watches that were opened again",
    "kcompile_node_eligible": "0 while the Node is being deleted",
    "kcompile_uptime_seconds": "Since the agent's start",
}


def _histogram(name: str, buckets: Sequence[float]) -> Histogram:
    from prometheus_client import Histogram

    return Histogram(name, _HELP[name], buckets=buckets, registry=None)


def _without_created(histogram: Histogram) -> Iterator[Metric]:
    """A histogram less the time of its creation, which Prometheus would keep as a series of its own."""
    for metric in histogram.collect():
        metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        yield metric


def _gauge(name: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, _HELP[name], value)


def _gauges(
    name: str, label: str, values: Mapping[Any, float], fixed: Mapping[str, str] | None = None
) -> Metric:
    """A gauge by `label`; every value has the labels `fixed` too."""
    from prometheus_client.core import GaugeMetricFamily

    more = fixed or {}
    family = GaugeMetricFamily(name, _HELP[name], labels=[label, *more])
    for key, value in values.items():
        family.add_metric([key, *more.values()], value)
    return family


def _counter(name: str, value: float) -> Metric:
    """A counter; its samples end in ``_total``."""
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, _HELP[name], value)


def _counters(name: str, label: str, values: Mapping[Any, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, _HELP[name], labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
