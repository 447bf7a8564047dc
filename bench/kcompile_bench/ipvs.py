"""Mode ipvs against its peers, under a kernel that has IPVS: ``python -m kcompile_bench.ipvs [--scale 10000x2]... [--without pyroute2]``

Virtual and real servers into the kernel: kcompile's batched messages, ``ipvsadm -R`` and pyroute2.IPVS calls, on the same input in the
same run. Each has a namespace of its own: what was removed before makes additions slower for minutes (ip_vs_trash_get_dest()).
Then a whole apply, what it reads back, and the change of one endpoint.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from kcompile.kernel.drivers import IpvsDriver
from kcompile.kernel.ipvs import IpvsKernel, load
from kcompile.kernel.netns import entered
from kcompile.passes import resolve
from kcompile.plan.diff import Change
from kcompile.spec.complete import complete
from kcompile.spec.convert import service_ports
from kcompile.targets.ipvs.render import server_command

from .generate import Scale, facts, settings
from .netns import namespaces
from .workload import Workload


def ours(changes: tuple[Change, ...]) -> None:
    IpvsKernel("legacy").apply(changes)


def ipvsadm(changes: tuple[Change, ...]) -> None:
    text = "".join(f"{server_command(c.key, c.old, c.new)}\n" for c in changes)
    subprocess.run(["ipvsadm", "-R"], input=text, text=True, check=True)


def pyroute2(changes: tuple[Change, ...]) -> None:
    from pyroute2 import IPVS, IPVSDest, IPVSService

    with IPVS() as server:
        for change in changes:
            service = IPVSService(addr=change.key[3], port=change.key[4], protocol=socket.IPPROTO_TCP, sched_name="rr")
            if change.key[0] == "vs":
                server.service("add", service=service)
            else:
                server.dest("add", service=service, dest=IPVSDest(addr=change.key[5], port=change.key[6], fwd_method=0))


PEERS: dict[str, Callable[[tuple[Change, ...]], None]] = {"kcompile": ours, "ipvsadm -R": ipvsadm, "pyroute2": pyroute2}


def timed(what: str, count: int, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{what:32} {seconds:9.3f} s {seconds / count * 1e6:9.1f} us each", flush=True)
    return result


def run(scale: Scale, without: list[str]) -> None:
    print(f"--- {scale}", flush=True)
    inventory = Workload(scale).inventory
    complete(inventory)
    driver = IpvsDriver("legacy")
    program = driver.target.lower(resolve(service_ports(inventory), facts(), settings("nftables")))
    servers = tuple(Change(key, None, value) for key, value in program.items() if key[0] in ("vs", "rs") and key[2] == "tcp")
    for name, work in PEERS.items():
        if name not in without:
            with namespaces("ipvs") as (namespace,), entered(namespace):
                timed(f"servers, {name}", len(servers), lambda work=work: work(servers))
    with namespaces("ipvs") as (namespace,), entered(namespace):
        changes = timed("compare", len(program), lambda: driver.target.diff({}, program))
        timed("whole apply", len(program), lambda: driver.apply({}, changes))
        assert timed("observe", len(program), driver.observe) == program
        key = next(key for key in program if key[0] == "rs")
        one = {k: v for k, v in program.items() if k != key} | {(*key[:6], 9): program[key]}
        changes = driver.target.diff(program, one)
        timed("one endpoint", len(changes), lambda: driver.apply({}, changes))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kcompile_bench.ipvs", description=__doc__)
    parser.add_argument("--scale", action="append", metavar="SERVICESxENDPOINTS")
    parser.add_argument("--without", action="append", default=[], choices=PEERS)
    arguments = parser.parse_args()
    load()
    for text in arguments.scale or ["1000x10", "10000x2"]:
        run(Scale.parse(text), arguments.without)


if __name__ == "__main__":
    main()
