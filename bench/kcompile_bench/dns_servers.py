"""The name servers that are compared, each with the same records on one processor: how each is started, what
it needs, and what it uses.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dns.message

from kcompile import spawn

__all__ = ["BIND", "OWN", "PORT", "SERVERS", "Usage", "found", "missing", "started", "used"]

OWN, BIND, NSD, DNSMASQ = "kcompile", "BIND", "NSD", "dnsmasq"
PORT = 5353
_TICK = os.sysconf("SC_CLK_TCK")
_TRIES, _PAUSE = 600, 0.05  # for the first answer; seconds

_PROGRAMS = {BIND: ("named", "bind9"), NSD: ("nsd", "nsd"), DNSMASQ: ("dnsmasq", "dnsmasq-base")}
"""Program and Debian package of each."""


class Usage(NamedTuple):
    """What a server and its processes have used: seconds of CPU, and MiB that they hold (the parts that they
    share counted once).
    """

    cpu: float
    memory: float


def found() -> tuple[str, ...]:
    """The servers that this machine has."""
    return (OWN, *[name for name, (program, _) in _PROGRAMS.items() if spawn.find(program)])


def missing() -> Iterator[str]:
    """What to install for the others."""
    for name, (program, package) in _PROGRAMS.items():
        if not spawn.find(program):
            yield f"{name} isn't measured: no {program} (apt-get install {package})"


@contextmanager
def started(name: str, folder: Path, manifests: Path, cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    """The server `name` with the records of `manifests`, on processor `cpu`, when it answers. `folder` is for
    its files.
    """
    given = ["-f", str(manifests), "--state", f"{folder}/none"]
    command = SERVERS[name](folder, given)
    server = spawn.popen(
        ["taskset", "-c", str(cpu), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with server:
        try:
            _wait_for_answers(server)
            yield server
        finally:
            server.terminate()


def _own(_: Path, given: Sequence[str]) -> list[str]:
    return spawn.python("kcompile", "dns", "serve", *given, "--port", str(PORT))


def _bind(folder: Path, given: Sequence[str]) -> list[str]:
    lines = [
        f'options {{ directory "{folder}"; recursion no; listen-on port {PORT} {{ 127.0.0.1; }};',
        "  listen-on-v6 { none; }; pid-file none; session-keyfile none; dnssec-validation no;",
        "  notify no; rrset-order { order random; }; minimal-responses yes; };",
        "controls { }; logging { category default { null; }; };",
    ]
    zones = _zones(folder, given)
    lines += [f'zone "{zone}" {{ type primary; file "{folder}/db.{zone}"; }};' for zone in zones]
    (folder / "named.conf").write_text("\n".join(lines) + "\n")
    return ["named", "-f", "-n", "1", "-c", f"{folder}/named.conf"]


def _nsd(folder: Path, given: Sequence[str]) -> list[str]:
    lines = [
        f'server:\n  ip-address: 127.0.0.1@{PORT}\n  server-count: 1\n  username: ""\n  chroot: ""',
        f'  zonesdir: "{folder}"\n  zonelistfile: "{folder}/nsd.list"\n  pidfile: ""\n  database: ""',
        f'  xfrdfile: "{folder}/nsd.xfrd"\n  xfrdir: "{folder}"\n  logfile: "{folder}/nsd.log"',
        "  rrl-ratelimit: 0\n  round-robin: yes\n  minimal-responses: yes",
        "remote-control:\n  control-enable: no",
    ]
    lines += [f'zone:\n  name: "{zone}"\n  zonefile: "db.{zone}"' for zone in _zones(folder, given)]
    (folder / "nsd.conf").write_text("\n".join(lines) + "\n")
    return ["nsd", "-d", "-c", f"{folder}/nsd.conf"]


def _dnsmasq(folder: Path, given: Sequence[str]) -> list[str]:
    (folder / "hosts").write_text(_rendered(given, "-o", "hosts"))
    options = ["--no-resolv", "--no-hosts", f"--addn-hosts={folder}/hosts", "--local=/cluster.local/"]
    where = [f"--port={PORT}", "--listen-address=127.0.0.1", "--bind-interfaces"]
    return ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
            *where, *options]  # fmt: skip


SERVERS: dict[str, Callable[[Path, Sequence[str]], list[str]]] = {
    OWN: _own,
    BIND: _bind,
    NSD: _nsd,
    DNSMASQ: _dnsmasq,
}
"""Writes the files of each, and returns its command."""


def _rendered(given: Sequence[str], *options: str) -> str:
    command = spawn.python("kcompile", "dns", "render", *given, "--address", "127.0.0.1", *options)
    done = spawn.run(command, capture_output=True, text=True)
    done.check_returncode()
    return str(done.stdout)


def _zones(folder: Path, given: Sequence[str]) -> Iterator[str]:
    """The names of the zones, whose files are written."""
    for zone in _rendered(given).split("$ORIGIN ")[1:]:
        name = zone.partition("\n")[0].rstrip(".")
        (folder / f"db.{name}").write_text(f"$ORIGIN {zone}")
        yield name


def _wait_for_answers(server: subprocess.Popen[bytes]) -> None:
    question = dns.message.make_query("svc-000000.default.svc.cluster.local.", "A").to_wire()
    for _ in range(_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.connect(("127.0.0.1", PORT))
            try:
                sock.send(question)
                if sock.recv(4096)[3] & 15 == 0:
                    return
            except OSError:
                time.sleep(_PAUSE)
        if server.poll() is not None:
            break
    raise RuntimeError(f"{server.args} doesn't answer")


def used(pid: int) -> Usage:
    """What the process `pid` and those below it have used until now."""
    each = [_used(process) for process in _tree(pid)]
    return Usage(sum(one.cpu for one in each), sum(one.memory for one in each))


def _used(pid: int) -> Usage:
    """What one process has, and its children that have ended. Nothing of one that has just ended: dnsmasq has
    a process for each TCP connection.
    """
    process = Path(f"/proc/{pid}")
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[13]) + int(fields[14])) / _TICK
        for task in (process / "task").iterdir():
            cpu += int((task / "schedstat").read_text().split()[0]) / 1e9
        held = (process / "smaps_rollup").read_text().partition("\nPss:")[2]
    except (FileNotFoundError, ProcessLookupError):
        return Usage(0.0, 0.0)
    return Usage(cpu, int(held.split()[0]) / 1024)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))
