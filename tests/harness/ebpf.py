"""What mode xdp needs of a machine besides namespaces: a bpffs and a cgroup of the test's own, and a cache of
compiled programs.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kcompile.kernel.bpf import library, pins
from kcompile.kernel.bpf.hooks import cgroup_root
from kcompile.targets.xdp.layout import SCHEMA

from . import netns

__all__ = [
    "GROWING",
    "RUN",
    "bpffs",
    "cgroup",
    "leftovers",
    "objects",
    "programs",
    "remove_cgroup",
    "room",
    "surroundings",
]

RUN = "KCOMPILE_TESTS_RUN"
"""The variable that names the folder of this run, which plugins/parallel.py makes."""

GROWING = {
    *("names", "pools", "backends", "counters", "slots"),
    *(f"{name}{version}" for name in ("frontends", "ranges", "locals") for version in (4, 6)),
}
"""Maps whose size follows the cluster."""

_TCX = {"tcx/ingress": 46, "tcx/egress": 47}


@functools.cache
def objects() -> Path:
    """Compiled programs, named by the hash of their source, shared by all tests of a run: its workers have
    one folder.
    """
    if run := os.environ.get(RUN):
        folder = Path(run) / "objects"
        folder.mkdir(exist_ok=True)
        return folder
    folder = Path(tempfile.mkdtemp(prefix="kctest-objects-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def remove_cgroup(folder: Path) -> None:
    """Remove a cgroup that everybody has left. Who has just ended is still in it for a moment."""
    deadline = time.monotonic() + 5
    while True:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextlib.contextmanager
def bpffs(folder: Path) -> Iterator[Path]:
    """A bpffs at `folder`/bpf, and the cache of programs where a KCOMPILE_RUN_DIR of `folder`/run has it."""
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "objects").symlink_to(objects())
    place = folder / "bpf"
    place.mkdir()
    pins.mount(place)
    try:
        yield place
    finally:
        pins.unmount(place)


@contextlib.contextmanager
def cgroup() -> Iterator[Path]:
    """A cgroup of its own that this process is in, so that hooks there see its sockets and nobody else's."""
    root = cgroup_root()
    home = root / next(
        line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
    )[3:].lstrip("/")
    own = root / f"kctest-{os.getpid()}-{os.urandom(3).hex()}"
    own.mkdir()
    try:
        (own / "cgroup.procs").write_text(str(os.getpid()))
        yield own
    finally:
        # what runs commands for tests stays alive (prefork.py)
        for pid in {str(os.getpid()), *(own / "cgroup.procs").read_text().split()}:
            with contextlib.suppress(ProcessLookupError):
                (home / "cgroup.procs").write_text(pid)
        remove_cgroup(own)


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """For commands of mode xdp that say no more than that: a bpffs, a cgroup with nobody in it, a cache, by
    the environment.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kctest-")))
        place, own = folder / "bpf", cgroup_root() / f"kctest-{os.getpid()}"
        place.mkdir()
        pins.mount(place)
        stack.callback(pins.unmount, place)
        own.mkdir()
        stack.callback(remove_cgroup, own)
        before = dict(os.environ)
        os.environ |= {
            "KCOMPILE_BPF_DIR": str(place),
            "KCOMPILE_CGROUP": str(own),
            "KCOMPILE_CACHE_DIR": str(objects()),
        }
        try:
            yield
        finally:
            for name in ("KCOMPILE_BPF_DIR", "KCOMPILE_CGROUP", "KCOMPILE_CACHE_DIR"):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]


@contextlib.contextmanager
def room(mode: str, folder: Path) -> Iterator[Sequence[str]]:
    """Where a test of `mode` runs; yields apply's further options. `folder` is for the test's files."""
    with contextlib.ExitStack() as stack:
        if not mode.startswith("xdp"):
            yield ()
            return
        stack.enter_context(bpffs(folder))
        if mode == "xdp-tc":
            yield ("--socket-lb", "off")
        elif mode == "xdp-generic":
            yield ("--socket-lb", "off", "--xdp-mode", "generic")
        else:
            yield ("--cgroup", str(stack.enter_context(cgroup())))


def programs(namespace: str) -> list[str]:
    """Every eBPF program on an interface of `namespace`, and every clsact."""
    found = []
    with netns.enter(namespace):
        for index, name in socket.if_nameindex():
            for hook, kind in _TCX.items():
                found += [f"{name}: {hook}: program {number}" for number in library.query(index, kind)]
    for link in json.loads(netns.run(namespace, ["ip", "-json", "-details", "link"]).stdout):
        found += [f"{link['ifname']}: xdp"] if "xdp" in link else []
    found += [
        f"{q['dev']}: clsact"
        for q in json.loads(netns.run(namespace, ["tc", "-json", "qdisc"]).stdout)
        if q["kind"] == "clsact"
    ]
    return found


def leftovers(mode: str, folder: Path) -> list[str]:
    """What is still pinned."""
    return (
        [f"pin {path}" for path in pins.pins(folder / "bpf" / f"v{SCHEMA}")] if mode.startswith("xdp") else []
    )
