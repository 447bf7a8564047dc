"""The agent's log lines, and what it tells systemd over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from kcompile.agent.log import Form, agent_log, log_failure, log_sync
from kcompile.agent.notify import Notifier
from kcompile.agent.record import Sync

SYNC = Sync(1_700_000_000.0, 0.0123456, full=False, services=1, changes=3, waited=0.02)


def lines(form: Form, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    log = agent_log(stream, form, verbose=verbose)
    log_sync(log, "nftables", SYNC, first=False)
    log_sync(log, "nftables", SYNC._replace(changes=0), first=False)
    log_failure(log, "nft: busy", 0.8)
    log.info("watch", extra={"fields": {"kind": "Service", "error": 'said "no"', "object": ""}})
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("bug")
    return stream.getvalue().splitlines()


def test_text():
    synced, failed, watch, bug, *trace = lines("text")
    moment, _, rest = synced.partition(" ")
    assert len(moment) == len("2026-11-30T19:45:00.123Z")
    assert rest == "info synced mode=nftables sync=partial services=1 changes=3 seconds=0.0123 waited=0.02"
    assert failed.endswith("error sync failed: nft: busy retry_in=0.8")
    assert watch.endswith(r'info watch kind=Service error="said \"no\"" object=""')
    assert bug.endswith("error bug")
    assert trace[-1] == "ValueError: broken"
    assert len(lines("text", verbose=True)) == len(lines("text")) + 1


def test_json():
    synced, failed, watch, bug = (json.loads(line) for line in lines("json"))
    assert (synced["level"], synced["message"], synced["changes"]) == ("info", "synced", 3)
    assert (failed["level"], failed["retry_in"]) == ("error", 0.8)
    assert watch["error"] == 'said "no"'
    assert bug["exception"].endswith("ValueError: broken")


def test_two_agents_and_the_process_share_no_logger():
    before = set(logging.Logger.manager.loggerDict)
    one, other = agent_log(io.StringIO()), agent_log(io.StringIO())
    assert one is not other
    assert one.parent is None
    assert set(logging.Logger.manager.loggerDict) == before


@pytest.fixture
def heard(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(10)
        yield one


def test_systemd_hears_of_each_state(heard, tmp_path):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notifier.ready("2 Services")
    notifier.status("behind")
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    told = [heard.recv(4096).decode() for _ in range(5)]
    assert told[0] == "READY=1\nSTATUS=2 Services"
    assert told[1] == "STATUS=behind"
    assert told[2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[3:] == ["READY=1", "STOPPING=1"]


def test_the_watchdog_hears_only_while_the_kernel_thread_answers(heard, tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000"}

    async def scenario() -> None:
        answers = asyncio.Semaphore(3)
        stuck = asyncio.Event()

        async def alive() -> None:
            if answers.locked():
                stuck.set()
            await answers.acquire()

        watching = asyncio.create_task(Notifier(environment).watch(alive))
        await asyncio.wait_for(stuck.wait(), 10)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(scenario())
    assert [heard.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(4096)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid() + 1)},
        {"NOTIFY_SOCKET": "/nowhere/notify"},
        {"NOTIFY_SOCKET": "@kcompile-nobody-listens"},
    ],
)
def test_without_systemd_nothing_happens(environment):
    notifier = Notifier(environment)
    notifier.ready()
    asyncio.run(notifier.watch(asyncio.Event().wait))
