"""Where a network namespace's files are.

They belong to the namespace, not to the way that a command came into it.

RUN/ns-INODE/          its lock, what the next command must know (kernel/kept.py); gone with the next boot
STATE/NAME/            what was allocated: lives on (`allocation_folder`)
BPFFS/vSCHEMA/ns-INODE its pins in mode xdp (kernel/bpf/node.py)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..errors import KernelError, UnsafeError
from ..files import check_folder
from . import netns

__all__ = ["allocation_folder", "run_base", "run_directory"]

_FIRST = 1  # the cookie of the namespace that the machine booted with (gen_cookie_next() of linux/cookie.h)


def run_base() -> Path:
    """$KCOMPILE_RUN_DIR, or /run/kcompile."""
    return Path(os.environ.get("KCOMPILE_RUN_DIR") or "/run/kcompile").absolute()


def run_directory() -> Path:
    """The folder for the current namespace's lock and state; it need not exist.

    Raises UnsafeError where others can write to it, KernelError where the namespace can't be told.
    """
    base = run_base()
    directory = base / f"ns-{netns.identity()}"
    check_folder(base)
    check_folder(directory)
    return directory


def allocation_folder(name: str | None = None) -> Path:
    """The folder for what is allocated in namespace `name` (None: the current one), under $KCOMPILE_STATE_DIR
    or /var/lib/kcompile.

    A namespace with a name finds it again when it is made anew, after a boot too. One without a name ends
    with its processes: what was allocated in it is in its run directory. Who may not enter `name` is taken at
    the word.
    """
    base = Path(os.environ.get("KCOMPILE_STATE_DIR") or "/var/lib/kcompile")
    try:
        with netns.entered(name):
            lasting = _lasting_name()
            return base / lasting if lasting else run_directory()
    except UnsafeError:
        raise
    except KernelError:
        if name is None:
            raise
        return base / f"netns-{name}"


def _lasting_name() -> str:
    """``host`` for the namespace of the machine or container, ``netns-NAME`` (of several names the first), or
    empty.
    """
    with contextlib.suppress(OSError):
        if netns.cookie() == _FIRST:
            return "host"
    if named := netns.names():
        return f"netns-{named[0]}"
    with contextlib.suppress(OSError):  # a container's own; who may not read that, isn't told
        return "host" if str(Path("/proc/1/ns/net").stat().st_ino) == netns.identity() else ""
    return ""
