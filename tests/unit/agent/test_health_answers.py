"""What /healthz, /livez and /readyz say of a record."""

from __future__ import annotations

import json
import time

import pytest

from kcompile.agent.record import Record, Sync
from kcompile.agent.serve.health import healthz, is_eligible, livez, readyz
from kcompile.spec.objects import Metadata, Node, NodeSpec, Taint

SYNC = Sync(1_700_000_000.0, 0.5, full=True, services=1, changes=1)


def statuses(record: Record, limit: float = 60.0) -> tuple[int, int, int]:
    return tuple(page(record, limit).status for page in (healthz, livez, readyz))


def test_a_starting_agent_is_healthy_but_not_ready():
    record = Record()
    assert statuses(record) == (200, 200, 503)
    record.queued()
    assert statuses(record) == (200, 200, 503)
    record.synced(SYNC)
    assert statuses(record) == (200, 200, 200)


def test_a_change_that_waits_too_long_makes_it_unhealthy():
    record = Record()
    record.synced(SYNC)
    record.queued()
    assert statuses(record) == (200, 200, 200)
    assert statuses(record, limit=0.0) == (503, 503, 503)
    assert json.loads(healthz(record, 0.0).body)["lastUpdated"] == "2023-11-14 22:13:20.500000 +0000 UTC"
    record.synced(SYNC._replace(started=time.time(), seconds=0.0))
    body = json.loads(healthz(record, 60.0).body)
    assert body["lastUpdated"] == body["currentTime"]


def test_a_node_that_goes_takes_no_traffic_but_its_agent_lives():
    record = Record()
    record.synced(SYNC)
    record.node(eligible=False)
    assert statuses(record) == (503, 200, 200)
    assert json.loads(healthz(record, 60.0).body)["nodeEligible"] is False


@pytest.mark.parametrize(
    ("metadata", "spec", "eligible"),
    [
        (Metadata(name="n"), None, True),
        (Metadata(name="n"), NodeSpec(taints=[Taint(key="node.kubernetes.io/unschedulable")]), True),
        (Metadata(name="n"), NodeSpec(taints=[Taint(key="ToBeDeletedByClusterAutoscaler")]), False),
        (Metadata(name="n", deletion_timestamp="2026-01-01T00:00:00Z"), NodeSpec(), False),
    ],
)
def test_which_nodes_are_eligible(metadata: Metadata, spec: NodeSpec | None, eligible: bool):
    assert is_eligible(Node(metadata=metadata, spec=spec)) is eligible
