"""Mode ipvs on a node: observe, apply in steps, and undo when a step fails.

An apply writes only differences: IPVS keeps removed real servers on a list that each new one walks
(ip_vs_trash_get_dest() in ip_vs_ctl.c), so flushing and loading again would be slow for minutes. A virtual
server is ours if our sets name it, its address is on our device, or its mark is in our range; others are
never touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ... import spawn
from ...errors import KernelError, UnsupportedError
from ...program import Change, Key, Program
from ...targets.ipvs import marks
from ...targets.ipvs.render import rules_script, server_command
from ...targets.ipvs.resources import (
    DRAINED,
    FWMARK,
    AddressKey,
    DeviceKey,
    ElementKey,
    RealServer,
    RealServerKey,
    VirtualServerKey,
)
from ...targets.ipvs.steps import Kind, Step, steps
from ...targets.ipvs.target import needed_by, without_held
from ...targets.xtables.parse import IPVS
from .. import iptables, netns
from ..commit import detached
from ..netlink import NETLINK_GENERIC, Netlink, Sockets, generic_family, opened
from . import dummy, ipset
from .drain import Deadlines
from .messages import encode
from .read import real_servers, virtual_servers

__all__ = ["TABLES", "IpvsKernel", "change_servers", "check", "is_ours", "load"]

TABLES = ("mangle", "nat", "filter")
_GONE = (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL)
_Send = Callable[[Sequence[Change], Callable[[Change, int], None], Sockets | None], None]


class IpvsKernel:
    """IPVS in the current network namespace.

    `directory`: the node's run directory, for the deadlines of what drains. `sockets`: those to use; None:
    each step opens its own.
    """

    def __init__(self, backend: Literal["legacy", "nft"], directory: Path | None = None) -> None:
        self._backend: Literal["legacy", "nft"] = backend
        self._directory = directory
        self.sockets: Sockets | None = None

    @cached_property
    def deadlines(self) -> Deadlines:
        """What drains."""
        return Deadlines(self._directory)

    def observe(self) -> dict[Key, Any]:
        """The Program in the kernel: our device, sets, rules, virtual and real servers."""
        program = dummy.observe(self.sockets)
        program |= ipset.observe(self.sockets)
        program |= iptables.observe(self._backend, TABLES, IPVS)
        servers = virtual_servers(self.sockets)
        ours = [key for key in servers if is_ours(key, program)]
        program.update((key, servers[key]) for key in ours)
        held = real_servers(ours, self.sockets)
        draining = self.deadlines.draining
        self.deadlines.note((), [key for key in draining if key not in held or held[key].weight])
        for key, server in held.items():
            program[key] = (
                RealServer(0, server.connections, True)
                if server.weight == 0 and self.deadlines.over(key)
                else server
            )
        return program

    def apply(self, changes: Sequence[Change]) -> None:
        """Make `changes` in the order of targets/ipvs/steps.py.

        What draining real servers need stays. Where a step fails, undo the earlier ones and raise its error.
        """
        changes = self._beside_draining(changes)
        try:
            self.carry_out(changes)
        except Exception as failure:
            if self.sockets is not None:
                self.sockets.close()  # an answer may be unread
            try:
                self._undo(changes)
            except Exception as again:
                raise KernelError(
                    f"{failure}; and what was could not be put back ({again}): apply again to repair"
                ) from failure
            raise
        finally:
            self.deadlines.save()

    def _beside_draining(self, changes: Sequence[Change]) -> Sequence[Change]:
        """`changes` without those that draining real servers forbid, and as updates of what has stayed for
        them.
        """
        over = {
            c.key for c in changes if isinstance(c.key, RealServerKey) and c.new is None and not c.old.weight
        }
        draining = [key for key in self.deadlines.draining if key not in over]
        if not draining or _removes_device(changes):
            return changes
        needed = needed_by(draining)
        return [
            _update(change) if change.old is None and change.key in needed else change
            for change in without_held(changes, draining)
            if not (change.old is None and isinstance(change.key, AddressKey) and change.key in needed)
        ]

    def carry_out(self, changes: Sequence[Change]) -> None:
        """Make `changes` in the same order; what fails leaves those before it made."""
        drain = not _removes_device(changes)
        draining: set[RealServerKey] = set()
        for step in steps(changes):
            if draining:
                step = Step(step.kind, tuple(without_held(step.changes, draining)), step.family)
            if step.kind is Kind.SERVERS and step.changes[0].new is None:
                draining = self._remove(step.changes, drain)
            elif step.changes:
                self._step(step, changes)
        self.deadlines.note(draining, [c.key for c in changes if isinstance(c.key, RealServerKey)])

    def _undo(self, changes: Sequence[Change]) -> None:
        """Undo those of `changes` that have been made."""
        now = self.observe()
        back = [Change(c.key, now.get(c.key), c.old) for c in changes if now.get(c.key) != c.old]
        self.carry_out(back)

    def _step(self, step: Step, whole: Sequence[Change]) -> None:
        if step.kind is Kind.SETS:
            ipset.change(step.changes, whole, self.sockets)
        elif step.kind is Kind.RULES:
            iptables.apply({step.family: rules_script(step)}, self._backend)
        elif step.kind is Kind.ADDRESSES:
            if step.changes[0].new is None and _removes_device(whole):
                dummy.remove()  # with all of them at once: one by one, the kernel looks for each in a list
            else:
                _all(dummy.change_addresses, step.changes, "address", self.sockets)
        elif step.kind is Kind.SERVERS:
            change_servers(step.changes, self.sockets)
        elif step.changes[0].new is None:
            dummy.remove()
        else:
            dummy.create()

    def _remove(self, changes: Sequence[Change], drain: bool) -> set[RealServerKey]:
        """Take servers out: those of TCP get no new connections first, and stay while they have old ones.

        Returns those that stay.
        """
        staying = self._quieten(changes) if drain else set()
        gone = without_held(changes, staying)
        whole = {c.key for c in gone if isinstance(c.key, VirtualServerKey)}

        def goes_alone(key: Key) -> bool:
            """The kernel takes the real servers of a virtual server with it."""
            return not isinstance(key, RealServerKey) or key.virtual_server not in whole

        change_servers([c for c in gone if goes_alone(c.key)], self.sockets)
        return staying

    def _quieten(self, changes: Sequence[Change]) -> set[RealServerKey]:
        """Let the TCP servers that go get no new connections; returns those that have old ones."""
        draining = [
            c.key for c in changes if isinstance(c.key, RealServerKey) and c.old.weight and _drains(c.key)
        ]
        if not draining:
            return set()
        old = {c.key: c.old for c in changes}
        change_servers([Change(key, old[key], DRAINED) for key in draining], self.sockets)
        held = real_servers(dict.fromkeys(key.virtual_server for key in draining), self.sockets)
        return {key for key in draining if (server := held.get(key)) is not None and server.connections}


def _removes_device(changes: Iterable[Change]) -> bool:
    """Whether the mode goes, and all its connections with it."""
    return any(isinstance(c.key, DeviceKey) and c.new is None for c in changes)


def _update(change: Change) -> Change:
    """The creation `change` of what is still there."""
    if isinstance(change.key, RealServerKey):
        return Change(change.key, DRAINED, change.new)
    return Change(change.key, change.new, change.new) if isinstance(change.key, VirtualServerKey) else change


def is_ours(key: VirtualServerKey, program: Program) -> bool:
    """Whether a virtual server is one of the mode's, where the rest of it is `program`."""
    if key.protocol == FWMARK:
        return marks.is_ours(int(key.address, 16))
    entry = f"{key.address},{key.protocol}:{key.port}"
    return (
        AddressKey(key.version, key.address) in program
        or ElementKey(key.version, "FRONTENDS", entry) in program
    )


def _drains(key: RealServerKey) -> bool:
    """ipvs/graceful_termination.go: UDP and SCTP go at once."""
    return (marks.protocol_of(int(key.address, 16)) if key.protocol == FWMARK else key.protocol) == "tcp"


def _send(changes: Sequence[Change], failed: Callable[[Change, int], None], sockets: Sockets | None) -> None:
    with opened(sockets, NETLINK_GENERIC) as netlink:
        family = generic_family(netlink, "IPVS")
        netlink.send(
            [(family, 0, encode(change)) for change in changes], lambda at, code, _: failed(changes[at], code)
        )


def change_servers(changes: Sequence[Change], sockets: Sockets | None = None) -> None:
    """Make `changes` of virtual and real servers, ours or not. Raises KernelError."""
    _all(_send, changes, "IPVS", sockets)


def _all(send: _Send, changes: Sequence[Change], what: str, sockets: Sockets | None) -> None:
    """Send `changes`; KernelError names the first refused one. To remove what is not there is no failure."""
    refused: list[tuple[Change, int]] = []

    def failed(change: Change, code: int) -> None:
        if change.new is not None or code not in _GONE:
            refused.append((change, code))

    send(changes, failed, sockets)
    if refused:
        change, code = refused[0]
        key = change.key
        command = (
            server_command(key, change.old, change.new) if not isinstance(key, AddressKey) else key.address
        )
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise KernelError(f"{what}: {command}: {_reason(code, change)}{more}")


def _reason(code: int, change: Change) -> str:
    if code == errno.EEXIST and isinstance(change.key, VirtualServerKey):
        return "somebody else has this virtual server"
    if code == errno.ENOENT and isinstance(change.key, VirtualServerKey):
        return f"this kernel has no scheduler {change.new.scheduler} (modprobe ip_vs_{change.new.scheduler})"
    # ip_vs_new_dest() asks the table local, which the first address makes
    if code == errno.EINVAL and isinstance(change.key, RealServerKey):
        return "not the address of a host, or this namespace has none of its own (ip link set lo up)"
    return os.strerror(code)


def load() -> None:
    """Load IPVS's kernel module, as kube-proxy does; raises UnsupportedError where there is none."""
    if not Path("/proc/net/ip_vs").exists():
        with contextlib.suppress(UnsupportedError):
            spawn.run(["modprobe", "-qa", "ip_vs", "dummy"], capture_output=True)
    with Netlink(NETLINK_GENERIC) as netlink:
        generic_family(netlink, "IPVS")


def check(backend: Literal["legacy", "nft"], changes: Sequence[Change]) -> None:
    """Try `changes` in a new network namespace that ends with its process; raises what an apply would."""

    def attempt() -> None:
        netns.unshare()
        spawn.run(["ip", "link", "set", "lo", "up"], capture_output=True)
        IpvsKernel(backend).apply(changes)

    detached(attempt)
