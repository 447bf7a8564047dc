"""The spawner's loop: ``python -m kcompile.lab.spawner.loop FD``, with the socket to the lab's process.

When the lab's process ends, the socket does: the spawner kills all and ends. When the spawner is killed, the
kernel kills its children (PR_SET_PDEATHSIG), and a container's first process takes the others with it.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import child, linux

__all__ = ["Spawner", "main"]

_LARGEST = 4096  # bytes of a message; what is longer comes in a memory file
_DESCRIPTORS = 4
_NOT_STARTED = 128


class Spawner:
    """The processes of one lab's containers, by the ids that the lab's process gives them."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self.pids: dict[int, int] = {}
        self.ids: dict[int, int] = {}
        self.starting: dict[int, int] = {}  # the descriptor that ends at exec() -> id
        self.poll = select.poll()
        self.ended, self.woken = os.pipe()
        for fd in (self.ended, self.woken):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        for fd in (control.fileno(), self.ended):
            self.poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Serve until the lab's process ends; then nothing is left."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while self._turn():
                pass
        for pid in self.ids:
            os.kill(pid, signal.SIGKILL)

    def _turn(self) -> bool:
        """What is there to do now: begins of processes, then ends, then a request; False at the end."""
        ready = {fd for fd, _ in self.poll.poll()}
        for fd in ready & set(self.starting):
            self._begun(fd)
        if self.ended in ready:
            os.read(self.ended, 4096)
            self._reap()
        return self.control.fileno() not in ready or self._request()

    def _request(self) -> bool:
        """One message of the lab's process; False at the end."""
        sizes = socket.CMSG_SPACE(_DESCRIPTORS * array.array("i").itemsize)
        data, ancillary, _, _ = self.control.recvmsg(_LARGEST, sizes, socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for _, _, content in ancillary:
            fds.frombytes(content)
        if not data:
            return False
        message = json.loads(data)
        try:
            if message["op"] == "signal":
                self._signal(message["id"], message["signal"])
            else:
                self._start(message, list(fds))
        except OSError as error:
            self._tell(message["id"], "failed", error=str(error))
            self._tell(message["id"], "ended", status=_NOT_STARTED)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _signal(self, number: int, signum: int) -> None:
        if pid := self.pids.get(number):
            os.kill(pid, signum)  # not reaped yet, so it's nobody else's

    def _start(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        spec = json.loads(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
        if message["op"] == "start":
            pid, begun = self._fork(linux.unshare, lambda: child.be_container(spec, fds[1:]))
        else:
            pid, begun = self._exec(self.pids.get(message["container"], 0), spec, fds[1:])
        self.pids[message["id"]], self.ids[pid] = pid, message["id"]
        self.starting[begun] = message["id"]
        self.poll.register(begun, select.POLLIN)

    def _exec(self, container: int, spec: dict[str, Any], streams: Sequence[int]) -> tuple[int, int]:
        if not container:
            raise ProcessLookupError("the container doesn't run")
        pidfd = os.pidfd_open(container)
        try:
            return self._fork(
                lambda flags: linux.setns(pidfd, flags), lambda: child.join_container(pidfd, spec, streams)
            )
        finally:
            os.close(pidfd)

    def _fork(self, enter: Callable[[int], None], become: Callable[[], None]) -> tuple[int, int]:
        """Fork into the PID namespace that `enter` chooses; the spawner stays in its own."""
        # back first: unshare() would begin in the namespace of the container before, which may have ended
        linux.setns(self.own, linux.NEWPID)
        enter(linux.NEWPID)
        try:
            return child.fork(become)
        finally:
            linux.setns(self.own, linux.NEWPID)

    def _begun(self, fd: int) -> None:
        """The process has called exec(), or said why it can't."""
        number = self.starting.pop(fd)
        self.poll.unregister(fd)
        error = os.read(fd, 4096)
        os.close(fd)
        if error:
            self._tell(number, "failed", error=error.decode(errors="replace"))
        else:
            self._tell(number, "started", pid=self.pids[number])

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            number = self.ids.pop(pid)
            for fd in [fd for fd, waiting in self.starting.items() if waiting == number]:
                self._begun(fd)
            del self.pids[number]
            code = os.waitstatus_to_exitcode(status)
            self._tell(number, "ended", status=code if code >= 0 else 128 - code)

    def _tell(self, number: int, event: str, **more: Any) -> None:
        self.control.send(json.dumps({"id": number, "event": event, **more}).encode())


def main() -> None:
    """Serve the socket whose descriptor is the argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the lab's process
    with socket.socket(fileno=int(sys.argv[1])) as control:
        Spawner(control).run()


if __name__ == "__main__":
    main()
