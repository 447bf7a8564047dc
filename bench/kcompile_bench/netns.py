"""Throw-away network namespaces, linked to nothing but each other.

They carry this process's id and go with the `with` block.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kcompile import spawn
from kcompile.kernel.netns import entered

__all__ = ["batch", "namespaces", "sysctl"]

_count = itertools.count(1)


def batch(lines: Iterable[str], name: str = "") -> None:
    """Run ip(8) commands, in namespace `name` where one is given."""
    command = ["ip", *(["-n", name] if name else []), "-batch", "-"]
    done = spawn.run(command, input="".join(f"{line}\n" for line in lines), text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def sysctl(name: str, values: dict[str, object]) -> None:
    """Set sysctls (paths below /proc/sys/net) in namespace `name`."""
    with entered(name):
        for path, value in values.items():
            (Path("/proc/sys/net") / path).write_text(f"{value}\n")


@contextmanager
def namespaces(*roles: str) -> Iterator[list[str]]:
    """One namespace a role, loopback up; yields their names and removes them at the end."""
    made = [f"kcbench-{os.getpid()}-{next(_count)}-{role}" for role in roles]
    try:
        batch(f"netns add {name}" for name in made)
        for name in made:
            batch(["link set lo up"], name)
        yield made
    finally:
        batch(f"netns del {name}" for name in made if Path("/run/netns", name).exists())
