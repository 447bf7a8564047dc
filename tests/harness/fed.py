"""``kcompile dns feed`` while Services change all the time, and what the server says in the end."""

from __future__ import annotations

import contextlib
import ipaddress
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import dns.message
import dns.zone

from harness.nameserver import free_port
from harness.objects import service
from kcompile_bench.agent.server import ApiServer
from kcompile_bench.generate import Scale

__all__ = ["KINDS", "Fed", "fed"]

_FIRST = int(ipaddress.IPv4Address("10.100.0.0"))
_PATIENCE = 30.0  # seconds until the last change must be there
_KEY = 'key "k" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0"; };\n'

_Ask = Callable[[str], str]
"""The address that a server gives for a name; empty without one."""


class Fed(NamedTuple):
    """`changes` made in `seconds`; `missing`: names whose last address the server doesn't give; `lag`:
    seconds from the last change until it gave them all; `writes` of the files.
    """

    changes: int
    seconds: float
    missing: list[str]
    lag: float
    writes: int


def fed(kind: str, folder: Path, seconds: float, rate: float = 100.0, services: int = 300) -> Fed:
    """Change `rate` Services a second, for `seconds`, in an API server that `kind` is fed from."""
    files = folder / "files"
    rng = random.Random(1)
    with ApiServer(Scale(0, 0)) as server, contextlib.ExitStack() as stack:
        last = {f"s{number}": _FIRST + number for number in range(services)}
        server.put(*[_object(name, ip) for name, ip in last.items()])
        base = [sys.executable, "-m", "kcompile", "dns", "feed", "--to", kind, "--directory", str(files)]
        given = ["--kubeconfig", str(server.kubeconfig(folder))]
        subprocess.run([*base, *given, "--once"], check=True)
        ask, reload_command = stack.enter_context(KINDS[kind](folder, files))
        told = stack.enter_context((folder / "feed").open("w+"))
        feed = stack.enter_context(_process([*base, *given, "--reload", reload_command], told))
        began, changes = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            name = rng.choice(list(last))
            last[name] += services
            server.put(_object(name, last[name]))
            changes += 1
            time.sleep(max(changes / rate - now, 0))
        over = time.monotonic()
        missing = list(last)
        while missing and time.monotonic() - over < _PATIENCE and feed.poll() is None:
            missing = [name for name in missing if ask(f"{name}.shop.svc.cluster.local.") != _ip(last[name])]
            time.sleep(0.05)
        lag = time.monotonic() - over
        told.seek(0)
        return Fed(changes, over - began, missing, lag, told.read().count("Wrote "))


def _ip(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


def _object(name: str, ip: int) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", **service(name, _ip(ip)).fields()}


@contextlib.contextmanager
def _process(command: list[str], output: object = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


def _asker(port: int) -> _Ask:
    def ask(name: str) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.connect(("127.0.0.1", port))
            try:
                sock.send(dns.message.make_query(name, "A").to_wire())
                reply = dns.message.from_wire(sock.recv(4096))
            except OSError:
                return ""
            return reply.answer[0][0].to_text() if reply.answer else ""

    return ask


@contextlib.contextmanager
def _files(_: Path, files: Path) -> Iterator[tuple[_Ask, str]]:
    """No server: the zone's file is read, each version of it once."""
    path = files / "db.cluster.local"
    read: dict[int, dns.zone.Zone] = {}

    def ask(name: str) -> str:
        inode = path.stat().st_ino
        if inode not in read:
            read.clear()
            read[inode] = dns.zone.from_file(str(path), "cluster.local.", relativize=False)
        found = read[inode].get_rdataset(name, "A")
        return found[0].to_text() if found else ""

    yield ask, ""


@contextlib.contextmanager
def _bind(folder: Path, files: Path) -> Iterator[tuple[_Ask, str]]:
    port, control = free_port(), free_port()
    (folder / "named.conf").write_text(
        f'{_KEY}controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ "k"; }}; }};\n'
        f'options {{ directory "{folder}"; recursion no; listen-on port {port} {{ 127.0.0.1; }};\n'
        "listen-on-v6 { none; }; pid-file none; session-keyfile none; dnssec-validation no; };\n"
        f'include "{files}/named.conf.kcompile";\n'
    )
    (folder / "rndc.conf").write_text(
        f'{_KEY}options {{ default-key "k"; default-server 127.0.0.1; default-port {control}; }};\n'
    )
    with _process([_program("named"), "-g", "-c", f"{folder}/named.conf"]):
        yield _asker(port), f"{_program('rndc')} -c {folder}/rndc.conf reload"


@contextlib.contextmanager
def _nsd(folder: Path, files: Path) -> Iterator[tuple[_Ask, str]]:
    port = free_port()
    (folder / "nsd.conf").write_text(
        f'server:\n  ip-address: 127.0.0.1@{port}\n  username: ""\n  chroot: ""\n  pidfile: ""\n'
        f'  zonelistfile: "{folder}/list"\n  xfrdfile: "{folder}/xfrd"\n  xfrdir: "{folder}"\n'
        '  database: ""\n  rrl-ratelimit: 0\n'
        f'remote-control:\n  control-enable: yes\n  control-interface: "{folder}/control"\n'
        f'include: "{files}/nsd.conf.kcompile"\n'
    )
    with _process([_program("nsd"), "-d", "-c", f"{folder}/nsd.conf"]):
        yield _asker(port), f"{_program('nsd-control')} -c {folder}/nsd.conf reload"


@contextlib.contextmanager
def _dnsmasq(_: Path, files: Path) -> Iterator[tuple[_Ask, str]]:
    port = free_port()
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv"]
    where = [f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces"]
    hosts = ["--no-hosts", f"--addn-hosts={files}/hosts"]
    with _process([_program("dnsmasq"), *options, *where, *hosts]) as process:
        yield _asker(port), f"kill -HUP {process.pid}"


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found, f"no {name}"
    return found


KINDS = {"coredns": _files, "bind": _bind, "nsd": _nsd, "dnsmasq": _dnsmasq}
"""How each server is started, where it is asked, and the command that tells it; CoreDNS's files are read."""
