"""Whether the agent keeps up, and whether load balancers may send to its node: kube-proxy's meaning
(healthcheck/proxy_health.go).

/healthz   503 when a change has waited for too long, or the Node is being deleted
/livez     503 when a change has waited for too long
/readyz    503 until the first sync, then as /livez
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...spec.objects import Node
from ..record import Record

__all__ = ["TO_BE_DELETED", "Answer", "healthz", "is_eligible", "keeps_up", "livez", "readyz"]

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
"""The taint by which the cluster autoscaler says that it removes a node soon."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer: status and JSON body."""

    status: int
    body: str


def is_eligible(node: Node) -> bool:
    """Whether load balancers may send to `node`: it is neither deleted nor about to be."""
    taints = node.spec.taints if node.spec else None
    keys = [taint.key for taint in taints or ()]
    return node.metadata.deletion_timestamp is None and TO_BE_DELETED not in keys


def keeps_up(record: Record, limit: float) -> bool:
    """Whether every change has been programmed, or has waited for less than `limit` seconds."""
    pending = record.pending_seconds
    return pending is None or pending < limit


def healthz(record: Record, limit: float) -> Answer:
    """For load balancers: is this node's dataplane up to date, and does the node stay?"""
    eligible = record.node_eligible
    return _answer(record, keeps_up(record, limit) and eligible, {"nodeEligible": eligible})


def livez(record: Record, limit: float) -> Answer:
    """For a liveness probe: does the agent keep up?"""
    return _answer(record, keeps_up(record, limit), {})


def readyz(record: Record, limit: float) -> Answer:
    """For a readiness probe: are the rules in place?"""
    return _answer(record, record.last_sync is not None and keeps_up(record, limit), {})


def _answer(record: Record, healthy: bool, more: dict[str, Any]) -> Answer:
    """`lastUpdated` is the current time when healthy, as kube-proxy has it."""
    now = time.time()
    last = record.last_sync
    updated = now if healthy else last.started + last.seconds if last else 0.0
    body = {"lastUpdated": _spelled(updated), "currentTime": _spelled(now), **more}
    return Answer(200 if healthy else 503, json.dumps(body))


def _spelled(moment: float) -> str:
    """`moment` as Go prints a time; its zero time where nothing was ever updated."""
    if not moment:
        return "0001-01-01 00:00:00 +0000 UTC"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S.%f} +0000 UTC"
