"""Keeps one container running: a program of its own, started in the pod's network namespace with the path of
a JSON file.

The file says what to run (see `pods.container_file`). The container gets mount, PID, UTS and IPC namespaces
of its own. Its root is this machine's root under an overlay in memory, so it may write anywhere and nothing
is left of it; what it prints goes to a log file. When it ends it is started again, as `restart` says, later
each time. SIGTERM ends it in order. Standard library only: it starts in 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

_NEWNS, _NEWUTS, _NEWIPC, _NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_VIRTUAL = ("/proc", "/sys", "/dev", "/run")
_SLOWEST = 10.0  # seconds between two starts of something that keeps ending
_HEALTHY = 10.0  # seconds after which a start counts as a good one
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() if word else None for word in (source, str(target), kind)]
    _checked(
        _libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None),
        f"mount {source or kind} on {target}",
    )


def _bind(source: str, target: Path, read_only: bool) -> None:
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, target, flags=_MS_BIND | _MS_REC)
    if read_only:
        _mount("", target, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _host_mounts() -> list[str]:
    """Where this machine has file systems beside its root: an overlay over the root doesn't show them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        if place != "/" and not any(place == top or place.startswith(top + "/") for top in _VIRTUAL):
            found.append(place)
    return found


def _root(spec: dict[str, Any]) -> None:
    """Give the calling process, alone in its mount namespace, the container's root."""
    _mount("", "/", flags=_MS_REC | _MS_PRIVATE)
    others = _host_mounts()
    base = Path(spec["directory"])
    _mount("kcompile", base, "tmpfs", data="mode=755")
    upper, work, root = (base / part for part in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir()
    for path, text in spec["files"].items():
        place = upper / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    _mount("overlay", root, "overlay", data=f"lowerdir=/,upperdir={upper},workdir={work}")
    for place in others:
        with contextlib.suppress(OSError):  # one that is hidden, or that we may not see
            _bind(place, root / place.lstrip("/"), read_only=True)
    _mount("proc", root / "proc", "proc")
    _mount("sysfs", root / "sys", "sysfs", _MS_RDONLY)
    _mount("/dev", root / "dev", flags=_MS_BIND | _MS_REC)
    _mount("tmpfs", root / "run", "tmpfs", data="mode=755")
    for bind in spec["binds"]:
        _bind(bind["source"], root / bind["target"].lstrip("/"), bind["readOnly"])
    (root / ".old").mkdir(exist_ok=True)
    os.chdir(root)
    subprocess.run(["pivot_root", ".", ".old"], check=True)
    os.chdir("/")
    _checked(_libc.umount2(b"/.old", _MNT_DETACH), "umount /.old")


def _become(spec: dict[str, Any]) -> None:
    """In the new process: be the container."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    _checked(_libc.unshare(_NEWNS | _NEWUTS | _NEWIPC), "unshare")
    hostname = spec["hostname"].encode()
    _checked(_libc.sethostname(hostname, len(hostname)), "sethostname")
    _root(spec)
    environment = spec["env"]
    if spec["prepare"]:
        subprocess.run(["sh", "-ec", spec["prepare"]], env=environment, check=True)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    os.chdir(spec["cwd"] or "/")
    os.execvpe(spec["command"][0], spec["command"], environment)  # noqa: S606 -- the manifest's command, and no shell


def _start(spec: dict[str, Any]) -> int:
    """Fork the container as the first process of a PID namespace; its PID out here."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        # back from the namespace of the container before, which has ended: unshare() would begin there
        _checked(_libc.setns(own, _NEWPID), "setns")
    finally:
        os.close(own)
    _checked(_libc.unshare(_NEWPID), "unshare")
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(spec)
    except BaseException as error:
        os.write(2, f"kcompile: can't start the container: {error}\n".encode())
    os._exit(127)


class _Keeper:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.status = spec, Path(spec["status"])
        self.pid, self.stopping, self.restarts = 0, False, 0

    def stop(self, number: int, _: object) -> None:
        """SIGTERM: pass it on; SIGALRM: the container has had its time."""
        self.stopping = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM if number == signal.SIGTERM else signal.SIGKILL)
        if number == signal.SIGTERM:
            signal.setitimer(signal.ITIMER_REAL, self.spec["grace"])

    def tell(self, code: int | None) -> None:
        """Write the status file: whole, or not at all."""
        new = self.status.with_suffix(".new")
        new.write_text(
            json.dumps({"keeper": os.getpid(), "pid": self.pid, "restarts": self.restarts, "exit": code})
        )
        new.replace(self.status)

    def run(self) -> None:
        delay = 0.5
        while not self.stopping:
            started = time.monotonic()
            self.pid = _start(self.spec)
            self.tell(None)
            _, status = os.waitpid(self.pid, 0)
            self.pid = 0
            code = os.waitstatus_to_exitcode(status)
            self.tell(code)
            policy = self.spec["restart"]
            if self.stopping or policy == "Never" or (policy == "OnFailure" and code == 0):
                break
            delay = 0.5 if time.monotonic() - started > _HEALTHY else min(delay * 2, _SLOWEST)
            time.sleep(delay)
            self.restarts += 1


def main(path: str) -> None:
    """Run the container that the file `path` describes until it is over."""
    spec = json.loads(Path(path).read_text())
    os.setsid()
    keeper = _Keeper(spec)
    signal.signal(signal.SIGTERM, keeper.stop)
    signal.signal(signal.SIGALRM, keeper.stop)
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open("/dev/null", os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    keeper.run()


if __name__ == "__main__":
    main(sys.argv[1])
