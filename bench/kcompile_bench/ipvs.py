"""Mode ipvs: ``python -m kcompile_bench.ipvs [pytest's arguments]`` runs its suites where IPVS is, and writes
bench/results/ipvs.json.

On a kernel that has none, that is a machine of the tests' (User-mode Linux, tests/uml). Below are the peers
that are measured beside kcompile in the same run, on the same virtual and real servers.
"""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kcompile import spawn
from kcompile.kernel.ipvs import IpvsKernel
from kcompile.program import Change
from kcompile.targets.ipvs.render import server_command

__all__ = ["PEERS", "main", "prepared", "where_ipvs_is"]

_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = _ROOT / "bench" / "results"
_SCALES = ("1000x10", "10000x2")
_MEMORY = 2560  # MiB: specs of ten thousand Services, read whole
_PATIENCE = 1800  # seconds

Changes = Sequence[Change]


def prepared(name: str, changes: Changes) -> Callable[[], None]:
    """What makes `changes` of servers true in the current namespace by peer `name`: what needn't be timed is
    done.
    """
    return PEERS[name](changes)


def _ours(changes: Changes) -> Callable[[], None]:
    return lambda: IpvsKernel("legacy").apply(changes)


def _ipvsadm(changes: Changes) -> Callable[[], None]:
    text = "".join(f"{server_command(c.key, c.old, c.new)}\n" for c in changes)
    return lambda: _run(["ipvsadm", "-R"], text)


def _run(command: list[str], text: str) -> None:
    done = spawn.run(command, input=text, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{command[0]}: {done.stderr[:500]}")


def _pyroute2(changes: Changes) -> Callable[[], None]:
    from pyroute2 import IPVS, IPVSDest, IPVSService

    def work() -> None:
        gc.enable()  # every message is a cycle: without the collector ten thousand fill the machine
        with IPVS() as server:
            for change in changes:
                service = IPVSService(
                    addr=change.key.address,
                    port=change.key.port,
                    protocol=socket.IPPROTO_TCP,
                    sched_name="rr",
                )
                verb = "del" if change.new is None else "add"
                if change.key.kind == "vs":
                    server.service(verb, service=service)
                else:
                    server.dest(
                        verb,
                        service=service,
                        dest=IPVSDest(addr=change.key.ip, port=change.key.real_port, fwd_method=0, weight=1),
                    )

    return work


PEERS: dict[str, Callable[[Changes], Callable[[], None]]] = {
    "kcompile": _ours,
    "ipvsadm -R": _ipvsadm,
    "pyroute2.IPVS": _pyroute2,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns pytest's exit status, or that of ``python -m uml``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--scale" not in given:
        given += [word for scale in _SCALES for word in ("--scale", scale)]
    suites = [str(_ROOT / "bench" / "suites" / name) for name in ("test_ipvs.py", "test_kernel.py")]
    options = [
        "-p",
        "no:plugins.machines",
        "--bench-mode",
        "ipvs",
        "--benchmark-only",
        "--benchmark-quiet",
        f"--benchmark-json={_RESULTS / 'ipvs.json'}",
    ]
    _RESULTS.mkdir(exist_ok=True)
    pytest = spawn.python("pytest", *suites, "-p", "no:cacheprovider", *options, *given, path=_ROOT / "bench")
    in_root = 'cd "$1" && shift && exec "$@"'  # pytest looks for its settings in the current folder
    inside = ["sh", "-c", in_root, "sh", str(_ROOT), *pytest]
    return spawn.run(where_ipvs_is(inside, "--write", str(_RESULTS))).returncode


def where_ipvs_is(command: Sequence[str], *options: str) -> list[str]:
    """`command`, run in a machine of the tests' where this kernel has no IPVS; `options`: the machine's."""
    if Path("/proc/net/ip_vs").exists():
        return list(command)
    machine = ("--module", "ip_vs", "--memory", str(_MEMORY), "--time", str(_PATIENCE), *options)
    return spawn.python("uml", *machine, "--", *spawn.located(command), path=_ROOT / "tests")


if __name__ == "__main__":
    sys.exit(main())
