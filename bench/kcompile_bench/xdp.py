"""Mode xdp on a Path's node: with a bpffs and, for hooks on sockets, a cgroup that this process can be in."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path as File

import msgspec

from kcompile.ir.node import Xdp
from kcompile.kernel.bpf import pins
from kcompile.kernel.bpf.hooks import cgroup_root
from kcompile.kernel.drivers import XdpDriver
from kcompile.kernel.facts import links
from kcompile.kernel.netns import entered

from .path import NODE, Path
from .workload import Workload

__all__ = ["apply_xdp", "inside"]


def apply_xdp(
    stack: contextlib.ExitStack, path: Path, workload: Workload, sockets: str = "tcp"
) -> File | None:
    """Serve `workload` on the node of `path` until `stack` closes.

    `sockets` as --socket-lb has it; returns the cgroup with its hooks.
    """
    folder = _folder(stack)
    cgroup = _cgroup(stack, path.node) if sockets != "off" else None
    dataplane = workload.dataplane("nftables")
    with entered(path.node):
        node = msgspec.structs.replace(
            dataplane.node, addresses=(NODE,), interfaces=(NODE, "127.0.0.1"), links=links()
        )
        how = msgspec.structs.replace(dataplane.settings, xdp=Xdp(sockets=sockets, cgroup=str(cgroup or "")))
        driver = XdpDriver(folder / f"node-{path.node}")
        program = driver.target.lower(msgspec.structs.replace(dataplane, node=node, settings=how))
        changes = driver.target.diff(driver.observe(), program)
        for warning in driver.apply(changes):
            raise RuntimeError(warning)
        for name in ("accept_local", "rp_filter"):
            (File("/proc/sys/net/ipv4/conf/lo") / name).write_text("1" if name == "accept_local" else "0")
    stack.callback(_remove, driver, path.node)
    return cgroup


def _remove(driver: XdpDriver, node: str) -> None:
    with entered(node):
        driver.kernel.remove()


def _folder(stack: contextlib.ExitStack) -> File:
    """A run directory with a bpffs, the same for all nodes of a run."""
    if "KCOMPILE_BENCH_XDP" in os.environ:
        return File(os.environ["KCOMPILE_BENCH_XDP"])
    folder = File(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
    (folder / "bpf").mkdir()
    pins.mount(folder / "bpf")
    stack.callback(pins.unmount, folder / "bpf")
    for name, value in (("BPF_DIR", folder / "bpf"), ("RUN_DIR", folder), ("BENCH_XDP", folder)):
        os.environ[f"KCOMPILE_{name}"] = str(value)
        stack.callback(os.environ.pop, f"KCOMPILE_{name}")
    return folder


def _cgroup(stack: contextlib.ExitStack, name: str) -> File:
    """A cgroup of its own, with nobody in it yet."""
    own = _current() / name
    own.mkdir()
    stack.callback(own.rmdir)
    return own


@contextlib.contextmanager
def inside(cgroup: File | None) -> Iterator[None]:
    """This process is in `cgroup` meanwhile: its hooks see the sockets."""
    if cgroup is None:
        yield
        return
    home = _current()
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))


def _current() -> File:
    line = next(line for line in File("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return cgroup_root() / line[3:].lstrip("/")
