"""The folders of a network namespace; they depend on the namespace alone, not on how a command entered it.

RUN/ns-INODE/            lock and files for the next command (kernel/kept.py); until the next boot
STATE/NAME/              allocated addresses and ports; persistent (`allocation_folder`)
BPFFS/vSCHEMA/ns-INODE/  pins of mode xdp (kernel/bpf/node.py)
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

    Raises UnsafeError where others can write to it, KernelError where the namespace has no readable identity.
    """
    base = run_base()
    directory = base / f"ns-{netns.identity()}"
    check_folder(base)
    check_folder(directory)
    return directory


def allocation_folder(name: str | None = None) -> Path:
    """The folder for what is allocated in namespace `name` (None: the current one), under $KCOMPILE_STATE_DIR
    or /var/lib/kcompile.

    A named namespace finds it again when it is recreated, also after a boot. A nameless one ends with its
    processes: its folder is its run directory. Without the right to enter `name`, the folder is that of the
    name.
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
    with contextlib.suppress(OSError):  # a container's own namespace; not readable without root
        return "host" if str(Path("/proc/1/ns/net").stat().st_ino) == netns.identity() else ""
    return ""
