"""The metrics of an agent: their values, their list in the docs, and that agents share nothing."""

from __future__ import annotations

import re
import time

from prometheus_client.parser import text_string_to_metric_families

from harness.imports import ROOT
from kcompile.agent.record import ProgrammedService, Record, Sync
from kcompile.agent.serve.metrics import Metrics


class Programmed:
    mode = "nftables"

    def programmed(self) -> list[ProgrammedService]:
        return [
            ProgrammedService("demo/api", 2, 3, 1.0, no_local_endpoints=("external",)),
            ProgrammedService("demo/web", 4, 1, 1.0),
        ]

    def resources(self) -> int:
        return 70


def values(metrics: Metrics) -> dict[str, float]:
    """The samples, by name and labels; a histogram's buckets left out."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            if not sample.name.endswith("_bucket"):
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def lively() -> Metrics:
    record = Record()
    metrics = Metrics(record, Programmed())
    record.source("Service", "watching")
    record.source("EndpointSlice", "failing", "refused")
    record.restarted_watch("EndpointSlice")
    record.queued("EndpointSlice", 5)
    record.synced(
        Sync(time.time() - 1, 0.5, full=True, services=2, changes=70, triggers=(time.time() - 3,), waited=0.6)
    )
    record.syncing()
    record.queued("Service")
    record.synced(Sync(time.time(), 0.001, full=False, services=1, changes=2, waited=0.003))
    record.drift(3, ["element"])
    record.filling = {"flows4": (90, 100)}
    record.failed("busy", 0.8)
    record.bad("demo/bad", "port 0")
    for path, status in (("healthz", 200), ("healthz", 503), ("livez", 200)):
        metrics.answered(path, status)
    return metrics


def test_values():
    got = values(lively())
    assert 2.4 < got.pop("kubeproxy_network_programming_duration_seconds_sum") < 2.7
    expected = {
        "kubeproxy_sync_proxy_rules_duration_seconds_count": 2,
        "kubeproxy_sync_full_proxy_rules_duration_seconds_sum": 0.5,
        "kubeproxy_sync_partial_proxy_rules_duration_seconds_count": 1,
        "kubeproxy_network_programming_duration_seconds_count": 1,
        "kubeproxy_sync_proxy_rules_endpoint_changes_total": 5,
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending": 0,
        "kubeproxy_sync_proxy_rules_service_changes_total": 1,
        "kubeproxy_sync_proxy_rules_service_changes_pending": 1,
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=internal}": 0,
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=external}": 1,
        "kubeproxy_proxy_healthz_total{code=200}": 1,
        "kubeproxy_proxy_healthz_total{code=503}": 1,
        "kubeproxy_proxy_livez_total{code=200}": 1,
        "kcompile_services": 2,
        "kcompile_frontends": 6,
        "kcompile_endpoints": 4,
        "kcompile_resources": 70,
        "kcompile_services_failed": 1,
        "kcompile_flow_map_entries{map=flows4}": 90,
        "kcompile_flow_map_capacity{map=flows4}": 100,
        "kcompile_change_wait_seconds_count": 1,
        "kcompile_sync_changes_sum": 72,
        "kcompile_sync_services_sum": 3,
        "kcompile_sync_failures_total{sync=full}": 1,
        "kcompile_sync_failures_total{sync=partial}": 0,
        "kcompile_drifts_total": 1,
        "kcompile_drifted_resources_total": 3,
        "kcompile_source_failing{kind=Service}": 0,
        "kcompile_source_failing{kind=EndpointSlice}": 1,
        "kcompile_watch_restarts_total{kind=EndpointSlice}": 1,
        "kcompile_node_eligible": 1,
    }
    assert {name: got.get(name) for name in expected} == expected
    assert abs(got["kcompile_last_error_timestamp_seconds"] - time.time()) < 60
    assert not [name for name in got if name.endswith("_created")]


def test_the_buckets_of_kube_proxy():
    text = lively().text().decode()
    bounds = re.findall(r'kubeproxy_network_programming_duration_seconds_bucket\{le="([^"]+)"\}', text)
    assert bounds[:4] == ["0.25", "0.5", "1.0", "2.0"]
    assert bounds[60:64] == ["59.0", "60.0", "65.0", "70.0"]
    assert bounds[-3:] == ["270.0", "300.0", "+Inf"]
    assert len(bounds) == 2 + 59 + 12 + 7 + 1
    sync = re.findall(r'kubeproxy_sync_proxy_rules_duration_seconds_bucket\{le="([^"]+)"\}', text)
    assert (sync[0], sync[-2], len(sync)) == ("0.001", "16.384", 16)


def test_the_list_in_the_docs():
    """Name and type of each metric; those of the process are prometheus_client's own."""
    document = (ROOT / "docs/reference/metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)`(?:, `[a-z_, `]+`)? \| (\w+) \|", document, re.MULTILINE)
    families = text_string_to_metric_families(lively().text().decode())
    made = {
        f"{family.name}_total" if family.type == "counter" else family.name: family.type
        for family in families
        if not family.name.startswith("process_")
    }
    assert dict(rows) == made


def test_two_agents_share_nothing():
    busy, idle = lively(), Metrics(Record(), Programmed())
    assert values(busy)["kubeproxy_sync_proxy_rules_duration_seconds_count"] == 2
    assert values(idle)["kubeproxy_sync_proxy_rules_duration_seconds_count"] == 0
