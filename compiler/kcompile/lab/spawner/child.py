"""What a new process does between fork() and exec(): it enters its namespaces, its root, its user.

A request has ``command``, ``env``, ``cwd``, ``user`` (``NAME|UID[:NAME|GID]`` or empty), ``groups``
(numbers), ``cgroup`` (a folder or empty) and ``tty``. One for a container also has ``netns`` (a path),
``hostname``, ``prepare`` (a shell script to run before the command, as root), ``readOnly`` (of its root) and
what `mounts` reads.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import linux
from .mounts import enter_root, seal_root

__all__ = ["be_container", "fork", "join_container"]

_RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
_LONGEST_ERROR = 2000
_IN_CONTAINER = linux.NEWNS | linux.NEWUTS | linux.NEWIPC | linux.NEWNET


def fork(become: Callable[[], None]) -> tuple[int, int]:
    """A new process that calls `become`, which ends in exec(): its PID, and a descriptor that ends at exec(),
    after the text of an error if there was one.
    """
    parent = os.pidfd_open(os.getpid())
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(parent)
        os.close(write)
        return pid, read
    try:
        linux.die_with_parent()
        if not _lives(parent):
            os._exit(1)
        become()
    except BaseException as error:
        os.write(write, _text(error).encode(errors="replace")[:_LONGEST_ERROR] or b"unknown")
    os._exit(127)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


def be_container(spec: dict[str, Any], streams: Sequence[int]) -> None:
    """In the first process of a PID namespace: be the container. Raises OSError."""
    fd = os.open(spec["netns"], os.O_RDONLY)
    linux.setns(fd, linux.NEWNET)
    os.close(fd)
    _join_cgroup(spec)
    linux.unshare(linux.NEWNS | linux.NEWUTS | linux.NEWIPC)
    socket.sethostname(spec["hostname"])
    enter_root(spec)
    _take(streams, spec["tty"])
    if spec["prepare"]:
        _prepare(spec["prepare"], spec["env"])
    if spec["cwd"]:
        Path(spec["cwd"]).mkdir(parents=True, exist_ok=True)  # as a runtime makes an image's WORKDIR
    if spec["readOnly"]:
        seal_root()
    _execute(spec)


def join_container(pidfd: int, spec: dict[str, Any], streams: Sequence[int]) -> None:
    """In a process of the container's PID namespace: join the container. Raises OSError."""
    _join_cgroup(spec)
    linux.setns(pidfd, _IN_CONTAINER)
    _take(streams, spec["tty"])
    _execute(spec)


def _lives(pidfd: int) -> bool:
    """False where the process has ended: it ended before this one asked to die with it."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _join_cgroup(spec: dict[str, Any]) -> None:
    if spec["cgroup"]:
        (Path(spec["cgroup"]) / "cgroup.procs").write_text("0")


def _take(streams: Sequence[int], tty: bool) -> None:
    """Make `streams` the standard ones, and a terminal the session's own."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if tty:
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _prepare(script: str, environment: dict[str, str]) -> None:
    status = os.spawnvpe(os.P_WAIT, "sh", ["sh", "-ec", script], environment)  # noqa: S606 (of images.yaml)
    if status:
        raise OSError(errno.EIO, f"what prepares the image ended with {status}")


def _execute(spec: dict[str, Any]) -> None:
    os.chdir(spec["cwd"] or "/")
    if spec["user"] or spec["groups"]:
        _become_user(spec["user"] or "0", spec["groups"])
        linux.die_with_parent()  # the change of user has undone it
    signal.set_wakeup_fd(-1)
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)
    program, environment = spec["command"][0], spec["env"]
    try:
        os.execvpe(program, spec["command"], environment)  # noqa: S606 (the manifest's command, and no shell)
    except FileNotFoundError:
        problem = "no such file or directory" if "/" in program else "executable file not found in $PATH"
        raise OSError(errno.ENOENT, f'exec: "{program}": {problem}') from None
    except PermissionError:
        raise OSError(errno.EACCES, f'exec: "{program}": permission denied') from None


def _become_user(user: str, groups: Sequence[int]) -> None:
    """Drop to `user`, with its groups of /etc/group and `groups`. Raises OSError for an unknown name."""
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid, others = entry.pw_uid, entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        if not name.isdigit():
            raise OSError(
                errno.ENOENT, f"unable to find user {name}: no matching entries in passwd file"
            ) from None
        uid, gid, others = int(name), 0, []
    if group:
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    for stream in (0, 1, 2):  # /dev/stdout of another user's pipe can't be opened
        os.fchown(stream, uid, -1)
    os.setgroups(sorted({*others, *groups}))
    os.setgid(gid)
    os.setuid(uid)
