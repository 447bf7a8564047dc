"""The last dataplane that was applied, so that `delete -f` can take Services out and commands can leave out --mode."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..ir.model import Dataplane

__all__ = ["Applied", "forget", "recall", "remember"]

_FILE = "applied.msgpack"


class Applied(msgspec.Struct):
    """What an apply left on the node. The kernel, not this file, says what the rules are."""

    mode: str
    dataplane: Dataplane


def remember(directory: Path, mode: str, dataplane: Dataplane) -> None:
    """Keep `dataplane` as what `mode` was last given."""
    temporary = directory / (_FILE + ".new")
    # str: the config reader marks checked strings by subclasses of it
    temporary.write_bytes(msgspec.msgpack.encode(Applied(mode, dataplane), enc_hook=str))
    temporary.replace(directory / _FILE)


def recall(directory: Path) -> Applied | None:
    """What was applied last; None where that isn't known."""
    try:
        return msgspec.msgpack.decode((directory / _FILE).read_bytes(), type=Applied)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def forget(directory: Path) -> None:
    (directory / _FILE).unlink(missing_ok=True)
