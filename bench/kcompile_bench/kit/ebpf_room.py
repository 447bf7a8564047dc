"""What mode xdp needs beside a network namespace, for a node that shares its machine with others: a BPF file
system to pin things in, and a cgroup whose sockets are this node's. Both are the node's own, and go with the
``with`` block.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kcompile import spawn
from kcompile.errors import UnsupportedError

__all__ = ["Room", "room", "sweep_cgroups"]

_count = itertools.count(1)
_OURS = re.compile(r"kcbench-(\d+)-\d+$")


class Room(NamedTuple):
    """`environment` is for kcompile; `inside(command)` starts a command in the cgroup."""

    environment: dict[str, str]
    cgroup: Path

    def inside(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return ("sh", "-c", f'echo $$ >"{self.cgroup}/cgroup.procs" && exec "$@"', "sh", *command)


def _cgroup_root() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise UnsupportedError("no cgroup2 is mounted (mount -t cgroup2 none DIRECTORY)")


@contextlib.contextmanager
def room(folder: Path) -> Iterator[Room]:
    """The Room of one node; `folder` is where the file system is mounted. Raises UnsupportedError where it
    can't be made.
    """
    with contextlib.ExitStack() as stack:
        place = folder / "bpf"
        place.mkdir(parents=True)
        done = spawn.run(["mount", "-t", "bpf", "bpf", str(place)], capture_output=True, text=True)
        if done.returncode:
            raise UnsupportedError(f"a BPF file system can't be mounted: {done.stderr.strip()}")
        stack.callback(lambda: spawn.run(["umount", str(place)]).check_returncode())
        cgroup = _cgroup_root() / f"kcbench-{os.getpid()}-{next(_count)}"
        cgroup.mkdir()
        stack.callback(cgroup.rmdir)
        yield Room({"KCOMPILE_BPF_DIR": str(place), "KCOMPILE_CGROUP": str(cgroup)}, cgroup)


def sweep_cgroups() -> None:
    """Remove the cgroups of killed runs."""
    with contextlib.suppress(UnsupportedError):
        for path in _cgroup_root().glob("kcbench-*"):
            if (found := _OURS.match(path.name)) and not Path("/proc", found[1]).exists():
                with contextlib.suppress(OSError):
                    path.rmdir()
