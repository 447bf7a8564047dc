"""The status objects, and `kcompile status` on trouble. tests/kernel/test_agent_serve.py has the socket."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import msgspec

from kcompile.agent.record import ProgrammedService, Record, Sync
from kcompile.agent.serve.status import AgentStatus, programmed_services, status_of
from kcompile.cli.status import _agent_lines, _span


class Programmed:
    mode = "nftables"

    def programmed(self) -> list[ProgrammedService]:
        return [ProgrammedService("demo/web", 4, 1, 1_700_000_000.0, 0.0041, 0.5)]

    def resources(self) -> int:
        return 70


def test_a_service_that_was_never_programmed_is_listed_for_its_error():
    record = Record()
    record.bad("demo/bad", "port 0")
    record.bad("demo/web", "no such protocol")
    bad, web = programmed_services(record, Programmed()).items
    assert (bad.service, bad.programmed_at, bad.error) == ("demo/bad", None, "port 0")
    assert web.programmed_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (web.lag_seconds, web.pending_seconds, web.error) == (0.0041, 0.5, "no such protocol")


def test_status_goes_over_the_wire_and_names_all_trouble():
    record = Record()
    record.synced(Sync(time.time(), 0.02, full=False, services=3, changes=5))
    record.source("Service", "watching")
    record.source("Node", "failing", "connection refused")
    record.drift(2, ["chain a", "chain b"])
    record.failed("nft: busy", 0.8)
    sent = msgspec.json.encode(status_of(record, Programmed(), 60))
    status = msgspec.json.decode(sent, type=AgentStatus)
    assert (status.api_version, status.kind) == ("kcompile.dev/v1alpha1", "AgentStatus")
    assert b'"nodeEligible":true' in sent
    assert b'"retryInSeconds":0.8' in sent
    now = datetime.now(UTC) + timedelta(minutes=5, seconds=30)
    agent, last, sources, failing, pending, error, drift = _agent_lines(status, now)
    assert agent.startswith("Agent: mode nftables, pid ")
    assert ", up to date, up " in agent
    assert last == "Last sync: 5m ago (3 Services, 5 changes in 20ms)"
    assert sources == "Sources: Service watching, Node failing"
    assert failing == "Node: failing for 5m: connection refused"
    assert pending.startswith("Pending: the oldest change has waited for ")
    assert error == "Last error: 5m ago: nft: busy"
    assert drift == "Drift: 2 resources repaired, last 5m ago: chain a, chain b"
    behind = status_of(record, Programmed(), 0)
    assert not behind.healthy
    assert ", behind, " in _agent_lines(behind, now)[0]


def test_spans():
    spans = (-1, 0.0042, 1, 119, 120, 7199, 7200, 172_799, 172_800)
    assert [_span(s) for s in spans] == ["0ms", "4ms", "1s", "119s", "2m", "119m", "2h", "47h", "2d"]
