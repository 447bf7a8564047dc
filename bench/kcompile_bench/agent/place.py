"""A namespace that is a node, and the folder of its files."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kcompile.kernel.bpf import pins
from kcompile.modes import MODES

from ..generate import NODE_IP
from ..netns import batch, namespaces

__all__ = ["KCOMPILE", "Place", "place"]

KCOMPILE = (sys.executable, "-m", "kcompile")


class Place(NamedTuple):
    """`environment` makes a kcompile keep everything in `folder`."""

    netns: str
    folder: Path
    environment: dict[str, str]


@contextlib.contextmanager
def place(mode: str) -> Iterator[Place]:
    """A node for `mode` with one interface that leads nowhere."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        (netns,) = stack.enter_context(namespaces("agent"))
        batch(
            [
                "link add eth0 type veth peer name peer",
                "link set eth0 up",
                "link set peer up",
                f"addr add {NODE_IP}/24 dev eth0",
            ],
            netns,
        )
        environment = dict(os.environ)
        for name in ("run", "state", "bpf", "cache"):
            (folder / name).mkdir(mode=0o700)
            environment[f"KCOMPILE_{name.upper()}_DIR"] = str(folder / name)
        if MODES[mode].sees_interfaces:
            pins.mount(folder / "bpf")
            stack.callback(pins.unmount, folder / "bpf")
        yield Place(netns, folder, environment)
