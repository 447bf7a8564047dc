"""Network namespaces by name, as ip-netns(8) keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import KernelError, UnsupportedError

__all__ = ["NETNS_DIR", "entered", "identity"]

NETNS_DIR = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_HERE = Path("/proc/thread-self/ns/net")


@contextmanager
def entered(name: str | None) -> Iterator[None]:
    """Put the calling thread into network namespace `name` (None: stay) and back at the end.

    Only the network namespace changes: mounts stay, so /sys and files are the caller's (``nsenter --net``, not
    ``ip netns exec``). Raises UnsupportedError where there is no such namespace, KernelError without the right to enter it.
    """
    if name is None:
        yield
        return
    if "/" in name or name in ("", ".", ".."):
        raise UnsupportedError(f"network namespace {name!r}: a name is needed, not a path")
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(name)
        yield
    finally:
        if not os.path.samestat(os.fstat(home), _HERE.stat()):  # ^C may come at any point of entering
            _setns(home)
        os.close(home)


def _enter(name: str) -> None:
    try:
        fd = os.open(NETNS_DIR / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnsupportedError(f"network namespace {name!r} does not exist (ip netns add {name})") from None
    except OSError as e:
        raise KernelError(f"network namespace {name!r}: {e.strerror}") from None
    try:
        _setns(fd)
    except OSError as e:
        raise KernelError(f"network namespace {name!r}: {e.strerror} (root is needed)") from None
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    # os.setns is new in Python 3.12
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare() -> None:
    """Put the calling thread into a network namespace of its own, which ends with it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise KernelError(f"a new network namespace: {os.strerror(ctypes.get_errno())} (root is needed)")


def identity() -> str:
    """A name for the current network namespace that is unique until reboot: its inode number."""
    return str(_HERE.stat().st_ino)
