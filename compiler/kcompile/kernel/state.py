"""What kcompile must remember about a node between two commands, and nothing else: how to put things back.

The rules themselves are read from the kernel every time. This holds the values that sysctls and IPVS's timeouts had before us. It lives on
/run, is bound to the boot and the network namespace, and is ignored when either has changed.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from . import netns

__all__ = ["NodeState", "run_directory", "stale"]

_FILE = "state.json"


def run_directory(netns_name: str | None) -> Path:
    """The directory for the current namespace's lock and state: under $KCOMPILE_RUN_DIR, or /run/kcompile."""
    base = Path(os.environ.get("KCOMPILE_RUN_DIR") or "/run/kcompile")
    if netns_name is not None:
        return base / f"netns-{netns_name}"
    with contextlib.suppress(OSError):
        if Path("/proc/1/ns/net").stat().st_ino != int(netns.identity()):
            return base / f"ns-{netns.identity()}"
    return base / "host"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class NodeState(msgspec.Struct):
    """`sysctls`, `ipvs_timeouts`: the values from before the first apply. Load and save inside the namespace, under the lock."""

    version: int = 1
    boot: str = ""
    netns: str = ""
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    ipvs_timeouts: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> NodeState:
        """The state in `directory`; an empty one where there is none, or it is of another boot or namespace, or not ours to read."""
        fresh = cls(boot=_boot(), netns=netns.identity())
        try:
            state = msgspec.json.decode((directory / _FILE).read_bytes(), type=cls)
        except (FileNotFoundError, PermissionError, msgspec.DecodeError):
            return fresh
        return state if (state.version, state.boot, state.netns) == (fresh.version, fresh.boot, fresh.netns) else fresh

    def save(self, directory: Path) -> None:
        """Write it whole or not at all."""
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / (_FILE + ".new")
        temporary.write_bytes(msgspec.json.encode(self))
        temporary.replace(directory / _FILE)


def stale(directory: Path) -> Path | None:
    """The state file of `directory` where it is of another boot or namespace, or can't be read, and so is ignored."""
    path = directory / _FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=NodeState)
    except (FileNotFoundError, PermissionError):
        return None
    except msgspec.DecodeError:
        return path
    return None if (state.boot, state.netns) == (_boot(), netns.identity()) else path
