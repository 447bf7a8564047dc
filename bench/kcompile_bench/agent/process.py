"""The agent's process: ``kcompile run``, and what it takes."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from kcompile import spawn
from kcompile.modes import MODES

from ..generate import NODE, POD_CIDR
from .place import KCOMPILE, Place

__all__ = ["Agent", "Memory"]

_PATIENCE = 120.0  # seconds for a start
_LOOK = 0.002  # seconds between two looks whether it is ready
_TICKS = os.sysconf("SC_CLK_TCK")
_CONFIG = f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: {POD_CIDR}
"""


class Memory(NamedTuple):
    """MB of 2**20 bytes: resident now, and at most so far."""

    now: float
    peak: float


class Agent:
    """``kcompile run --mode MODE`` on a node, from its first rules on; a context manager, killed at the end.

    :param waits: for the first rules; else it is there from its first moment

    `seconds` and `cpu`: from exec until systemd is told READY, which is after the first sync; CPU of the
    programs that it ran included.
    """

    def __init__(
        self, place: Place, mode: str, kubeconfig: Path, more: Sequence[str] = (), *, waits: bool = True
    ) -> None:
        self.mode = mode
        self._log = place.folder / "log"
        config, notes = place.folder / "config.yaml", place.folder / "notify"
        config.write_text(_CONFIG)
        notes.unlink(missing_ok=True)
        sockets = ("--socket-lb", "off") if MODES[mode].sees_interfaces else ()
        command = [
            *(*KCOMPILE, "run", "--mode", mode, "--netns", place.netns, "--node", NODE),
            *("--kubeconfig", str(kubeconfig), "--config", str(config)),
            *(*sockets, *more),
        ]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self._log.open("wb") as log:
            told.bind(str(notes))
            began = time.monotonic()
            environment = place.environment | {"NOTIFY_SOCKET": str(notes)}
            self._process = spawn.popen(command, env=environment, stderr=log)
            self.pid = self._process.pid
            if not waits:
                return
            try:
                self._wait_for(lambda: _ready(told), began + _PATIENCE)
                self.seconds, self.cpu = time.monotonic() - began, self.cpu_seconds()
            except BaseException:
                self.stop(signal.SIGKILL)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds from the signal to the end."""
        began = time.monotonic()
        self._process.send_signal(number)
        self._process.wait()
        return time.monotonic() - began

    def cpu_seconds(self) -> float:
        """User and system time so far, that of the programs that it has waited for included."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        return sum(int(word) for word in text.rpartition(")")[2].split()[11:15]) / _TICKS

    def memory(self) -> Memory:
        """What it holds."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        kilobytes = {name: int(value) for name, value in re.findall(r"(VmHWM|VmRSS):\s+(\d+)", text)}
        return Memory(kilobytes["VmRSS"] / 1024, kilobytes["VmHWM"] / 1024)

    def syncs(self) -> list[dict[str, str]]:
        """The fields of the log's line for each sync."""
        lines = [line for line in self._log.read_text().splitlines() if " synced " in line]
        return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines]

    def log(self) -> str:
        """Everything that it has said."""
        return self._log.read_text()

    def _wait_for(self, happens: Callable[[], bool], until: float) -> None:
        while self._process.poll() is None and time.monotonic() < until:
            if happens():
                return
            time.sleep(_LOOK)
        raise RuntimeError(f"the agent doesn't get ready: {self.log()}")


def _ready(told: socket.socket) -> bool:
    """Whether the next message to systemd says so."""
    try:
        return b"READY=1" in told.recv(4096, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
