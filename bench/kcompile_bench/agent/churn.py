"""Changes, rolling restarts and a killed agent, under traffic.

    python -m kcompile_bench.agent.churn --mode nftables --seconds 300 --rate 200 --kills 50

Services with an even number are never changed, and get connections all the time; those with an odd one are.

churn     changes for some seconds: an endpoint replaced, gone or back. Some Services have both endpoints
          replaced at once: *converged* is from the server's write to the first connection that one of the
          new ones answers
rolling   Pods of Services with ten each are replaced as a Deployment does: the new one ready, the old one
          terminating, then ended (its address resets connections), then out of the slice
kills     kill -9 and a new start, while changes go on

Prints a table: connections that failed, of all; those whose SYN was sent again; memory in MB.
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from kcompile.kernel.netns import entered
from kcompile.modes import MODES

from ..environment import environment
from ..generate import Scale, service_and_slice
from ..statistics import quantile
from .machine import in_machine
from .objects import Object, replaced, with_addresses, without_last
from .place import place
from .pods import Pods, ask, pods
from .process import Agent, Memory
from .rolling import ROLLED, roll
from .server import ApiServer
from .traffic import Count, Traffic

__all__ = ["Figures", "main", "measure", "table"]

_PROBED = 40  # Services whose convergence is looked at
_STEP = 0.02  # seconds between two batches of changes
_PATIENCE = 30.0  # seconds
_AGAIN = 0.002  # seconds between two connections to a Service that is about to change


class Figures(NamedTuple):
    """One mode. `rate`: changes a second that there were; `cpu`: the agent's, as a share of one; `converged`:
    seconds, sorted.
    """

    mode: str
    rate: float
    cpu: float
    churn: Count
    converged: list[float]
    memory: tuple[Memory, Memory]
    rolling: Count
    kills: Count
    errors: list[str]


def fresh_ips() -> Iterator[str]:
    """Addresses that no Pod has had."""
    for number in itertools.count(1):
        yield f"10.{160 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def measure(mode: str, scale: Scale, asked: argparse.Namespace) -> Figures:
    """Everything of one mode."""
    with ExitStack() as stack:
        here = stack.enter_context(place(mode))
        there = stack.enter_context(pods(here))
        server = stack.enter_context(ApiServer(scale))
        kubeconfig = server.kubeconfig(here.folder)
        untouched = {scale.vip(i): set(scale.pods(i)) for i in range(0, scale.services, 2)}
        ips = fresh_ips()
        with Agent(here, mode, kubeconfig) as agent:
            with Traffic(there.client, untouched, asked.connections) as traffic:
                first = agent.memory()
                churn = Churn(server, scale, ips, asked.rate)
                with churn.going():
                    began, before = time.monotonic(), agent.cpu_seconds()
                    converged = churn.probe(there, asked.seconds)
                    took = time.monotonic() - began
                    rate, cpu = churn.made / took, (agent.cpu_seconds() - before) / took
                counted = traffic.count()
                memory = first, agent.memory()
            rolled, errors = roll(server, there, scale, ips, asked.pods, asked.grace)
            agent.stop(signal.SIGKILL)
        with Traffic(there.client, untouched, asked.connections) as killing:
            churn = Churn(server, scale, ips, min(asked.rate, 20.0))
            with churn.going():
                for _ in range(asked.kills):
                    with Agent(here, mode, kubeconfig) as agent:
                        time.sleep(0.2)
                        agent.stop(signal.SIGKILL)
        errors += traffic.errors + killing.errors
    return Figures(mode, rate, cpu, counted, sorted(converged), memory, rolled, killing.count(), errors)


class Churn:
    """Changes of the Services with an odd number."""

    def __init__(self, server: ApiServer, scale: Scale, ips: Iterator[str], rate: float) -> None:
        self._server, self._scale, self._ips, self._rate = server, scale, ips, rate
        self._rng = random.Random(1)
        self._stop = threading.Event()
        self.made = 0

    @contextmanager
    def going(self) -> Iterator[None]:
        """Changes are made meanwhile."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def probe(self, there: Pods, seconds: float) -> list[float]:
        """For so long, replace both endpoints of one Service after another; seconds until that is seen."""
        found = []
        until = time.monotonic() + seconds
        with entered(there.client):
            for place in itertools.cycle(range(_PROBED)):
                if time.monotonic() > until:
                    return found
                i = 2 * place + 1
                _, part = service_and_slice(self._scale, i)
                new = {next(self._ips) for _ in part["endpoints"]}
                at = self._server.put(with_addresses(part, sorted(new)))
                found.append(_answered(self._scale.vip(i), new) - at)
                time.sleep(0.05)
        return found

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            batch = [self._change() for _ in range(max(1, round(self._rate * _STEP)))]
            self._server.put(*batch)
            self.made += len(batch)
            due = max(due + len(batch) / self._rate, time.monotonic() - 1.0)

    def _change(self) -> Object:
        first = 2 * (_PROBED + ROLLED) + 1
        i = self._rng.randrange(first, self._scale.services, 2)
        _, part = service_and_slice(self._scale, i)
        return self._rng.choice((part, without_last(part), replaced(part, next(self._ips))))


def _answers(vip: str, pods: set[str]) -> bool:
    try:
        return ask(vip, 1.0) in pods
    except OSError:
        return False


def _answered(vip: str, pods: set[str]) -> float:
    """The moment that one of `pods` answers for a Service."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if _answers(vip, pods):
            return time.monotonic()
        time.sleep(_AGAIN)
    raise RuntimeError("a changed Service doesn't converge")


def table(found: Sequence[Figures]) -> str:
    """`found` in Markdown."""
    agents = [
        "| mode | changes a s | CPU % | converged ms, p50 / p99 / most | RSS MB, start / end |",
        "| --- | --- | --- | --- | --- |",
    ]
    connections = [
        "| mode | churn: failed / all / SYN again | rolling restart | kill -9 |",
        "| --- | --- | --- | --- |",
    ]
    for each in found:
        times = " / ".join(f"{1000 * quantile(each.converged, q):.0f}" for q in (0.5, 0.99, 1.0))
        memory = f"{each.memory[0].now:.0f} / {each.memory[1].now:.0f}"
        agents.append(f"| {each.mode} | {each.rate:.0f} | {100 * each.cpu:.0f} | {times} | {memory} |")
        cells = " | ".join(_cell(count) for count in (each.churn, each.rolling, each.kills))
        connections.append(f"| {each.mode} | {cells} |")
    return "\n".join([*agents, "", *connections, ""])


def _cell(count: Count) -> str:
    return f"{count.failed} / {count.made:,} / {count.slow}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.agent.churn",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--services", type=int, default=2_000)
    parser.add_argument("--mode", action="append", choices=MODES, metavar="MODE")
    parser.add_argument("--seconds", type=float, default=30.0, help="of churn (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="changes a second (%(default)s)")
    parser.add_argument("--connections", type=float, default=200.0, help="a second (%(default)s)")
    parser.add_argument("--pods", type=int, default=500, help="to restart one after another (%(default)s)")
    parser.add_argument("--grace", type=float, default=1.0, help="seconds from terminating to ended")
    parser.add_argument("--kills", type=int, default=5, help="(%(default)s)")
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser.parse_args(given)
    modes = asked.mode or ["nftables", "iptables-legacy", "xdp"]
    if "ipvs" in modes and (code := in_machine("kcompile_bench.agent.churn", given)) is not None:
        return code
    machine = environment()
    found = [measure(mode, Scale(asked.services, 2), asked) for mode in modes]
    print(table(found))
    print(f"{asked.services:,} Services x 2; load average at the start {machine['load']}.")
    for each in found:
        for error in each.errors[:5]:
            print(f"{each.mode}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
