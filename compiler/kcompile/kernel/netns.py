"""Network namespaces: enter one by its name in ip-netns(8), and identify the current one."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import KernelError, UnsupportedError

__all__ = ["NETNS_DIR", "boot", "cookie", "entered", "identity", "life", "names"]

NETNS_DIR = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_HERE = Path("/proc/thread-self/ns/net")
_SO_NETNS_COOKIE = 71
_SIOCGSKNS = 0x894C  # linux/sockios.h: a descriptor of the namespace that a socket is in


@contextmanager
def entered(name: str | None) -> Iterator[None]:
    """Move the calling thread into network namespace `name` (None: stay), and back at the end.

    Only the network namespace changes: mounts stay, so /sys and files are the caller's (``nsenter --net``,
    not ``ip netns exec``). Raises UnsupportedError where there is no such namespace, KernelError without the
    right to enter it.
    """
    if name is None:
        yield
        return
    if "/" in name or name in ("", ".", ".."):
        raise UnsupportedError(f"network namespace {name!r}: a name is needed, not a path")
    home = _current()
    try:
        _enter(name)
        yield
    finally:
        if not os.path.samestat(os.fstat(home), _stat()):  # ^C may come at any point of entering
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


def _current() -> int:
    """A descriptor of the current network namespace, also without /proc, or with another PID namespace's."""
    import fcntl

    with contextlib.suppress(OSError):
        return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            return fcntl.ioctl(probe, _SIOCGSKNS)
    except OSError as e:
        raise KernelError(
            f"which network namespace this is can't be told: {_HERE} isn't there, and SIOCGSKNS: {e.strerror}"
        ) from None


def _stat() -> os.stat_result:
    fd = _current()
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def identity() -> str:
    """The inode number of the current network namespace.

    No other has it now; one that is made later may get it again.
    """
    return str(_stat().st_ino)


def cookie() -> int:
    """The cookie of the current network namespace, never reused within a boot (socket(7), SO_NETNS_COOKIE).

    Raises OSError before Linux 5.14.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int(struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0])


def boot() -> str:
    """The id of this boot. Raises KernelError without /proc."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError as e:
        raise KernelError(f"{e.filename}: {e.strerror}") from None


def life() -> str:
    """Inode number and cookie of the current namespace: unique within one boot, unlike the inode number."""
    with contextlib.suppress(OSError):
        return f"{identity()}.{cookie()}"
    return identity()


def names() -> list[str]:
    """The names of the current namespace in NETNS_DIR, sorted; none where it has none."""
    here = _stat()
    found = []
    for path in NETNS_DIR.iterdir() if NETNS_DIR.is_dir() else ():
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), here):
                found.append(path.name)
    return sorted(found)
