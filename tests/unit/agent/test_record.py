"""What the agent records of itself."""

from __future__ import annotations

import threading
import time

from kcompile.agent.record import Record, Sync


def test_a_change_is_pending_until_a_sync_that_began_after_it() -> None:
    record = Record()
    assert record.pending_seconds is None
    record.queued("EndpointSlice", 3)
    record.queued()
    assert record.pending_seconds is not None
    record.syncing()
    record.queued("Service")
    record.synced(Sync(time.time(), 0.0, full=False, services=1, changes=2))
    counts = record.counts
    assert counts.events == {"EndpointSlice": 3, "Service": 1}
    assert counts.pending == {"Service": 1}
    record.syncing()
    record.synced(Sync(time.time(), 0.0, full=True, services=1, changes=2))
    assert record.pending_seconds is None
    assert record.counts.pending == {}
    assert counts.pending == {"Service": 1}, "what was given away doesn't change"
    assert (record.counts.syncs, record.counts.full_syncs, record.counts.changes) == (2, 1, 4)


def test_what_comes_while_a_sync_runs_stays_pending_from_its_start() -> None:
    record = Record()
    record.queued()
    record.synced(Sync(time.time(), 60.0, full=True, services=1, changes=1))
    assert record.pending_seconds is not None, "it came within the 60 seconds"


def test_a_failed_sync_is_pending_and_named_until_one_succeeds() -> None:
    record = Record()
    record.failed("nft: busy", 0.8)
    assert record.failure is not None
    assert record.failure[1:] == ("nft: busy", 0.8)
    assert record.pending_seconds is not None
    record.synced(Sync(time.time(), 0.0, full=True, services=0, changes=0))
    assert record.failure is None
    assert record.pending_seconds is None
    assert record.counts.full_failures == 1


def test_errors_and_states_keep_the_moment_that_they_began() -> None:
    record = Record()
    record.bad("default/web", "port 0")
    since = record.errors["default/web"][1]
    record.bad("default/web", "port 0")
    assert record.errors == {"default/web": ("port 0", since)}
    record.good("default/web")
    record.good("default/web")
    assert record.errors == {}
    record.source("Service", "failing", "refused")
    first = record.sources
    record.source("Service", "failing", "refused")
    assert record.sources == first
    record.source("Service", "watching")
    assert [(s.kind, s.state, s.error) for s in record.sources] == [("Service", "watching", "")]
    record.drift(9, [str(n) for n in range(9)])
    assert record.last_drift is not None
    assert record.last_drift[1] == ("0", "1", "2", "3", "4")
    assert (record.counts.drifts, record.counts.drifted) == (1, 9)


def test_every_thread_may_write() -> None:
    record = Record()
    heard: list[Sync] = []
    record.listen(heard.append)

    def work() -> None:
        for _ in range(500):
            record.queued("Service")
            record.restarted_watch("Service")
            record.synced(Sync(time.time(), 0.0, full=False, services=1, changes=1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = record.counts
    assert (counts.syncs, counts.events, counts.restarted) == (2000, {"Service": 2000}, {"Service": 2000})
    assert len(heard) == 2000
