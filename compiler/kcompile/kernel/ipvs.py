"""Mode ipvs on a node: observe, apply step by step, and put back what was when a step fails.

Every apply is a difference: IPVS keeps removed destinations on a list that each addition walks (ip_vs_trash_get_dest() in
ip_vs_ctl.c), so to flush and load again would be slow for minutes. Ours are the virtual servers that our sets name, those on an
address of our device, and those of a mark in our range; all others are never touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import KernelError, UnsupportedError
from ..plan.diff import Change
from ..targets.base import Key
from ..targets.ipvs.marks import is_ours, protocol_of
from ..targets.ipvs.render import rules_script, server_command
from ..targets.ipvs.resources import DRAINED, FWMARK, RealServer, virtual_server_of
from ..targets.ipvs.steps import Kind, Step, steps
from ..targets.ipvs.target import without_held
from ..targets.xtables.parse import IPVS
from . import dummy, ipset, iptables, netns, spawn
from .commit import detached
from .drain import Deadlines
from .ipvs_messages import encode
from .ipvs_read import real_servers, virtual_servers
from .netlink import NETLINK_GENERIC, Netlink, generic_family

__all__ = ["IpvsKernel", "check", "load"]

_TABLES = ("mangle", "nat", "filter")


class IpvsKernel:
    """IPVS in the current network namespace. `directory`: the node's run directory, for the deadlines of what drains."""

    def __init__(self, backend: Literal["legacy", "nft"], directory: Path | None = None) -> None:
        self._backend: Literal["legacy", "nft"] = backend
        self._directory = directory

    def observe(self) -> dict[Key, Any]:
        """All that is ours."""
        program = dummy.observe()
        program |= ipset.observe()
        program |= iptables.observe(self._backend, _TABLES, IPVS)
        ours = {key: value for key, value in virtual_servers().items() if _is_ours(key, program)}
        program |= ours
        deadlines = Deadlines(self._directory)
        for key, server in real_servers(ours).items():
            program[key] = RealServer(0, server.connections, True) if server.weight == 0 and deadlines.over(key) else server
        return program

    def apply(self, changes: Sequence[Change]) -> None:
        """Make `changes` true in the order of targets/ipvs/steps.py. Where a step fails, what was is put back and the failure raised."""
        try:
            self._run(changes)
        except Exception as failure:
            try:
                self._undo(changes)
            except Exception as again:
                raise KernelError(f"{failure}; and what was could not be put back ({again}): apply again to repair") from failure
            raise

    def _run(self, changes: Sequence[Change]) -> None:
        drain = not any(c.key == ("device",) and c.new is None for c in changes)
        draining: set[Key] = set()
        for step in steps(changes):
            if draining:
                step = Step(step.kind, tuple(without_held(step.changes, draining)), step.family)
            if step.kind is Kind.SERVERS and step.changes[0].new is None:
                draining = self._remove(step.changes, drain)
            elif step.changes:
                self._carry_out(step, changes)
        Deadlines(self._directory).note(draining, [c.key for c in changes if c.key[0] == "rs"])

    def _undo(self, changes: Sequence[Change]) -> None:
        """Whatever of `changes` has come true becomes what it was."""
        now = self.observe()
        back = [Change(c.key, now.get(c.key), c.old) for c in changes if now.get(c.key) != c.old]
        self._run(back)

    def _carry_out(self, step: Step, whole: Sequence[Change]) -> None:
        if step.kind is Kind.SETS:
            ipset.change(step.changes, whole)
        elif step.kind is Kind.RULES:
            iptables.apply({step.family: rules_script(step)}, self._backend)
        elif step.kind is Kind.ADDRESSES:
            if step.changes[0].new is None and any(c.key == ("device",) and c.new is None for c in whole):
                dummy.remove()  # with all of them at once: one by one, the kernel looks for each in a list
            else:
                _all(dummy.change_addresses, step.changes, "address")
        elif step.kind is Kind.SERVERS:
            _all(_send, step.changes, "IPVS")
        elif step.changes[0].new is None:
            dummy.remove()
        else:
            dummy.create()

    def _remove(self, changes: Sequence[Change], drain: bool) -> set[Key]:
        """Take servers out: those of TCP get no new connections first, and stay while they have old ones. Returns those that stay."""
        staying: set[Key] = set()
        if drain:
            quiet = [Change(c.key, c.old, DRAINED) for c in changes if c.key[0] == "rs" and c.old.weight and _drains(c.key)]
            if quiet:
                _all(_send, quiet, "IPVS")
                held = real_servers({virtual_server_of(c.key): None for c in quiet})
                staying = {c.key for c in quiet if (server := held.get(c.key)) is not None and server.connections}
        gone = without_held(changes, staying)
        whole = {c.key for c in gone if c.key[0] == "vs"}
        # the kernel takes the real servers of a virtual server with it
        _all(_send, [c for c in gone if c.key[0] == "vs" or virtual_server_of(c.key) not in whole], "IPVS")
        return staying


def _is_ours(key: Key, program: dict[Key, Any]) -> bool:
    _, version, protocol, address, port = key
    if protocol == FWMARK:
        return is_ours(int(address, 16))
    return ("address", version, address) in program or ("element", version, "FRONTENDS", f"{address},{protocol}:{port}") in program


def _drains(key: Key) -> bool:
    """ipvs/graceful_termination.go: UDP and SCTP go at once."""
    return (protocol_of(int(key[3], 16)) if key[2] == FWMARK else key[2]) == "tcp"


def _send(changes: Sequence[Change], failed: Callable[[Change, int], None]) -> None:
    with Netlink(NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        netlink.send([(family, 0, encode(change)) for change in changes], lambda at, code, _: failed(changes[at], code))


def _all(send: Callable[[Sequence[Change], Callable[[Change, int], None]], None], changes: Sequence[Change], what: str) -> None:
    """Send `changes`; KernelError names the first that was refused. What is gone already needs no removal."""
    refused: list[tuple[Change, int]] = []

    def failed(change: Change, code: int) -> None:
        if change.new is not None or code not in (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL):
            refused.append((change, code))

    send(changes, failed)
    if refused:
        change, code = refused[0]
        told = server_command(change.key, change.old, change.new) if what == "IPVS" else change.key[2]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise KernelError(f"{what}: {told}: {_reason(code, change)}{more}")


def _reason(code: int, change: Change) -> str:
    if code == errno.EEXIST and change.key[0] == "vs":
        return "somebody else has this virtual server"
    if code == errno.ENOENT and change.key[0] == "vs":
        return f"this kernel has no scheduler {change.new.scheduler} (modprobe ip_vs_{change.new.scheduler})"
    if code == errno.EINVAL and change.key[0] == "rs":  # ip_vs_new_dest() asks the local table, which the first address makes
        return "not the address of a host, or this namespace has none of its own (ip link set lo up)"
    return os.strerror(code)


def load() -> None:
    """Have the kernel load IPVS, as kube-proxy does; UnsupportedError where it hasn't got it."""
    if not Path("/proc/net/ip_vs").exists():
        with contextlib.suppress(UnsupportedError):
            spawn.run(["modprobe", "-qa", "ip_vs", "dummy"], capture_output=True)
    with Netlink(NETLINK_GENERIC) as netlink:
        generic_family(netlink, "IPVS")


def check(backend: Literal["legacy", "nft"], changes: Sequence[Change]) -> None:
    """Make `changes` in a network namespace that ends with the child that made it; raises what an apply would."""

    def attempt() -> None:
        netns.unshare()
        spawn.run(["ip", "link", "set", "lo", "up"], capture_output=True)
        IpvsKernel(backend).apply(changes)

    detached(attempt)
