"""The values that sysctls and IPVS's timeouts had before the first apply, for `delete` to restore.

They are in a file on /run, valid for one boot and network namespace. Rules are always read from the kernel.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import UnsafeError
from ..files import read_private, write_whole
from ..targets.node import SYSCTLS, TIMEOUTS
from . import netns
from .kept import make_folder

__all__ = ["NodeState", "stale"]

_FILE = "state.json"


class NodeState(msgspec.Struct):
    """`sysctls`, `ipvs_timeouts`: the values from before the first apply.

    Load and save inside the namespace, under the lock.
    """

    version: int = 1
    boot: str = ""
    netns: str = ""
    sysctls: dict[str, str] = msgspec.field(default_factory=dict)
    ipvs_timeouts: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> NodeState:
        """The state in `directory`; empty where there is none of this boot and namespace that we may read.

        Raises UnsafeError where others can write the file, or it names a sysctl that kcompile never sets.
        """
        fresh = cls(boot=netns.boot(), netns=netns.life())
        path = directory / _FILE
        try:
            state = msgspec.json.decode(read_private(path), type=cls)
        except (FileNotFoundError, PermissionError, msgspec.DecodeError):
            return fresh
        if (state.version, state.boot, state.netns) != (fresh.version, fresh.boot, fresh.netns):
            return fresh
        for kind, given, known in (
            ("sysctl", state.sysctls, SYSCTLS),
            ("IPVS timeout", state.ipvs_timeouts, TIMEOUTS),
        ):
            for name in given:
                if name not in known:
                    raise UnsafeError(f"{path} names a {kind} that kcompile never sets, {name!r}: rm {path}")
        return state

    def save(self, directory: Path) -> None:
        """Write it atomically. Raises KernelError where there is no room."""
        make_folder(directory)
        write_whole(directory / _FILE, msgspec.json.encode(self), private=True)


def stale(directory: Path) -> Path | None:
    """The state file of `directory` if it is ignored: of another boot or namespace, or malformed; or None."""
    path = directory / _FILE
    try:
        state = msgspec.json.decode(read_private(path), type=NodeState)
    except (FileNotFoundError, PermissionError):
        return None
    except msgspec.DecodeError:
        return path
    return None if (state.boot, state.netns) == (netns.boot(), netns.life()) else path
