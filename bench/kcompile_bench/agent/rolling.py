"""A rolling restart: Pods are replaced as a Deployment does, under traffic."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from ..generate import Scale, service_and_slice
from .objects import Object, with_addresses
from .pods import Pods
from .server import ApiServer
from .traffic import Count, Traffic

__all__ = ["ROLLED", "roll"]

ROLLED = 50
"""Services that are rolled; they follow those whose convergence is looked at."""
_FIRST = 40
_RATE = 25  # Pods a second
_DRAIN = 0.5  # seconds from a Pod's end until its slice says so


def roll(
    server: ApiServer, there: Pods, scale: Scale, ips: Iterator[str], count: int, grace: float
) -> tuple[Count, list[str]]:
    """Replace `count` Pods of Services with ``count / ROLLED`` each; returns connections, and what failed.

    :param grace: seconds from "terminating" to a Pod's end
    """
    numbers = [2 * (_FIRST + place) + 1 for place in range(ROLLED)]
    running = {i: [next(ips) for _ in range(max(1, count // ROLLED))] for i in numbers}
    services = {scale.vip(i): set(pods) for i, pods in running.items()}
    server.put(*(_part(scale, i, pods, []) for i, pods in running.items()))
    time.sleep(2.0)
    ending: deque[tuple[float, int, str]] = deque()
    leaving: deque[tuple[float, int, str]] = deque()
    terminating: dict[int, list[str]] = {i: [] for i in numbers}
    old = [(i, ip) for place in range(len(running[numbers[0]])) for i, ip in _column(running, place)]
    with Traffic(there.client, services, 200) as traffic:
        while old or ending or leaving:
            began = time.monotonic()
            touched = set()
            if old:
                i, ip = old.pop(0)
                new = next(ips)
                services[scale.vip(i)].add(new)
                running[i].append(new)
                server.put(_part(scale, i, running[i], terminating[i]))  # one more than the old ones: a surge
                running[i].remove(ip)
                terminating[i].append(ip)
                ending.append((began + grace, i, ip))
                touched.add(i)
            while ending and ending[0][0] <= began:
                _, i, ip = ending.popleft()
                there.end(ip)
                leaving.append((began + _DRAIN, i, ip))
            while leaving and leaving[0][0] <= began:
                _, i, ip = leaving.popleft()
                terminating[i].remove(ip)
                touched.add(i)
            if touched:
                server.put(*(_part(scale, i, running[i], terminating[i]) for i in touched))
            time.sleep(max(0.0, began + 1 / _RATE - time.monotonic()))
        time.sleep(0.5)
        return traffic.count(), traffic.errors


def _column(running: dict[int, list[str]], place: int) -> list[tuple[int, str]]:
    return [(i, pods[place]) for i, pods in running.items()]


def _part(scale: Scale, i: int, ready: list[str], terminating: list[str]) -> Object:
    """The slice of Service `i`."""
    _, part = service_and_slice(scale, i)
    whole = with_addresses(part, [*ready, *terminating])
    going = {"ready": False, "serving": True, "terminating": True}
    whole["endpoints"] = [
        {**each, "conditions": going} if each["addresses"][0] in terminating else each
        for each in whole["endpoints"]
    ]
    return whole
