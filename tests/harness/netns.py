"""Network namespaces by name (the ones `ip netns` knows).

Names carry this process's id, so parallel runs don't collide and `sweep` can tell what a killed run left
behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["batch", "delete", "enter", "group", "pids", "run", "run_directory", "sweep", "sysctl"]

RUN = Path("/run/netns")
PREFIX = "kctest"
_NAME = re.compile(rf"{PREFIX}-(\d+)-[0-9a-f]+-\d+-")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_token = secrets.token_hex(2)
_count = itertools.count(1)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


@contextlib.contextmanager
def enter(name: str) -> Iterator[None]:
    """Run the body in namespace `name`: this thread only; sockets and children made inside stay inside."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(RUN / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def run(
    name: str, args: Sequence[str], *, text: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in namespace `name`, `text` on its stdin; what it printed is in the result and in the
    error.
    """
    with enter(name):
        done = subprocess.run(args, input=text, text=True, capture_output=True, check=False)
    if check and done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise RuntimeError(f"{' '.join(args)} in {name}: exit {done.returncode}: {said}")
    return done


def batch(lines: Iterable[str], name: str = "", *options: str) -> None:
    """Run `ip` commands in one process (in namespace `name`): 20-120 us each instead of 1-2 ms.

    With ``-force`` it goes on after errors.
    """
    args = ["ip", *(["-n", name] if name else []), *options, "-batch", "-"]
    done = subprocess.run(
        args, input="".join(f"{line}\n" for line in lines), text=True, capture_output=True, check=False
    )
    if done.returncode and "-force" not in options:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr.strip()}")


def sysctl(name: str, values: Mapping[str, int]) -> None:
    """Write sysctls of namespace `name`: paths below net/, ``*`` for every interface.

    A path that isn't there is skipped.
    """
    root = Path("/proc/sys/net")
    with enter(name):
        for pattern, value in values.items():
            for path in root.glob(pattern) if "*" in pattern else [root / pattern]:
                with contextlib.suppress(FileNotFoundError):
                    path.write_text(f"{value}\n")


@contextlib.contextmanager
def group(roles: Sequence[str]) -> Iterator[dict[str, str]]:
    """Make one namespace a role, loopback up; yields role -> name.

    All are removed at the end, whatever happened.
    """
    prefix = f"{PREFIX}-{os.getpid()}-{_token}-{next(_count)}-"
    names = {role: prefix + role for role in roles}
    try:
        batch(f"netns add {name}" for name in names.values())
        yield names
    finally:
        delete(names.values())


def delete(names: Iterable[str]) -> None:
    """Remove namespaces, those that still exist (another process may be at it too)."""
    batch((f"netns del {name}" for name in names if (RUN / name).exists()), "", "-force")


def run_directory(base: Path, name: str) -> Path:
    """Where kcompile keeps what it knows of namespace `name` when KCOMPILE_RUN_DIR is `base`."""
    return base / f"ns-{(RUN / name).stat().st_ino}"


def pids(name: str) -> list[int]:
    """Processes that live in namespace `name`."""
    place, found = f"net:[{(RUN / name).stat().st_ino}]", []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                if str((entry / "ns/net").readlink()) == place:
                    found.append(int(entry.name))
    return found


def sweep() -> list[str]:
    """Remove what runs of this harness left behind whose process is gone; returns the names."""
    stale = [
        path.name
        for path in (RUN.iterdir() if RUN.is_dir() else ())
        if (found := _NAME.match(path.name)) and not Path(f"/proc/{found[1]}").exists()
    ]
    delete(stale)
    return stale
