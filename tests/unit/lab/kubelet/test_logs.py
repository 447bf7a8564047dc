"""Logs: what is written, and what a reader gets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kcompile.lab.kubelet.logs import Log, LogOptions, read_log


def read(path: Path, log: Log | None = None, **options: object) -> bytes:
    async def work() -> bytes:
        return b"".join([piece async for piece in read_log(path, LogOptions(**options), log)])

    return asyncio.run(work())


def test_lines_have_a_time_a_stream_and_a_tag(tmp_path: Path):
    log = Log(tmp_path / "0.log")
    log.write(1, b"one\ntwo\nth")
    log.write(2, b"err\n")
    log.write(1, b"ree\n")
    log.close()
    words = [line.split(b" ", 3)[1:] for line in log.path.read_bytes().splitlines()]
    assert words == [
        [b"stdout", b"F", b"one"],
        [b"stdout", b"F", b"two"],
        [b"stdout", b"P", b"th"],
        [b"stderr", b"F", b"err"],
        [b"stdout", b"F", b"ree"],
    ]
    assert read(log.path) == b"one\ntwo\ntherr\nree\n"
    assert read(log.path, tail=2) == b"err\nree\n"
    assert read(log.path, tail=0) == b""
    assert read(log.path, limit=5) == b"one\nt"


def test_a_log_keeps_two_files_at_most(tmp_path: Path):
    log = Log(tmp_path / "0.log", limit=4000)
    for number in range(1000):
        log.write(1, b"line %d\n" % number)
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 9000
    lines = read(log.path).splitlines()
    assert lines == [b"line %d" % number for number in range(1000 - len(lines), 1000)]
    assert len(lines) > 50


def test_a_follower_misses_nothing_over_a_rotation_and_ends_with_the_log(tmp_path: Path):
    async def work() -> list[bytes]:
        log = Log(tmp_path / "0.log", limit=2000)
        log.write(1, b"before\n")
        found: list[bytes] = []

        async def follow() -> None:
            async for piece in read_log(log.path, LogOptions(follow=True), log):
                found.extend(piece.splitlines())

        reader = asyncio.create_task(follow())
        for number in range(200):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            log.write(1, b"%d\n" % number)
        log.close()
        await asyncio.wait_for(reader, 5)
        return found

    assert asyncio.run(work()) == [b"before", *(b"%d" % number for number in range(200))]
