"""Our ipsets by nfnetlink: written a thousand elements a message, read with one request a set."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import KernelError, UnsupportedError
from ...program import Change, Key
from ...targets.ipvs.render import ipset_command
from ...targets.ipvs.resources import SET_PREFIX, ElementKey, SetKey, set_name
from ..netlink import NETLINK_NETFILTER, Netlink, Request, Sockets, opened
from .ipset_messages import (
    ADD,
    CREATE,
    DEL,
    DESTROY,
    FLUSH,
    HEADERS_ONLY,
    LIMIT,
    LIST,
    SWAP,
    create,
    decode,
    element,
    elements,
    header,
    line_of,
    size,
    supported,
)

__all__ = ["change", "members", "observe", "sizes"]

_OURS = re.compile(rf"{SET_PREFIX}([46])-(\S+)")
# ip_set.h; what is above IPSET_ERR_TYPE_SPECIFIC differs by type
_REASONS = {
    errno.EEXIST: "there is another set of this name",
    4098: "this kernel has no such type of set",
    4099: "no room for another set",
    4100: "in use",
    4102: "the sets are of different types",
    4352: "the set is full",  # IPSET_ERR_HASH_FULL
}


def observe(sockets: Sockets | None = None) -> dict[Key, Any]:
    """Our sets and their elements in the current namespace.

    Others' sets are never read: they may be large.
    """
    program: dict[Key, Any] = {}
    with opened(sockets, NETLINK_NETFILTER) as netlink:
        try:
            names = [decode(*answer)[0] for answer in netlink.dump(LIST, header(""))]
        except OSError as e:
            raise UnsupportedError(
                f"this kernel has no ipset (modprobe ip_set): {_reason(e.errno or 0)}"
            ) from None
        for name in names:
            if found := _OURS.fullmatch(name):
                program |= _observe(netlink, name, int(found[1]), found[2])
    return program


def sizes(sockets: Sockets | None = None) -> dict[SetKey, tuple[str, int]]:
    """The definition of each of our sets, and how many elements it has."""
    found: dict[SetKey, tuple[str, int]] = {}
    with opened(sockets, NETLINK_NETFILTER) as netlink:
        for answer in netlink.dump(LIST, HEADERS_ONLY):
            name, definition, _ = decode(*answer)
            if ours := _OURS.fullmatch(name):
                found[SetKey(int(ours[1]), ours[2])] = definition, size(*answer)
    return found


def members(key: SetKey, sockets: Sockets | None = None) -> dict[Key, Any]:
    """The elements of our set `key`; none where it isn't there."""
    with opened(sockets, NETLINK_NETFILTER) as netlink:
        found = _observe(netlink, set_name(key.version, key.name), key.version, key.name)
    found.pop(key, None)
    return found


def _observe(netlink: Netlink, name: str, version: int, short: str) -> dict[Key, Any]:
    program: dict[Key, Any] = {}
    try:
        for answer in netlink.dump(LIST, header(name)):
            _, definition, members = decode(*answer)
            if definition:
                program[SetKey(version, short)] = definition
            for entry, options in members:
                program[ElementKey(version, short, entry)] = options
    except OSError as e:
        if e.errno != errno.ENOENT:  # gone since
            raise KernelError(f"ipset: {name}: {_reason(e.errno or 0)}") from None
    return program


def change(changes: Sequence[Change], whole: Sequence[Change] = (), sockets: Sockets | None = None) -> None:
    """Make `changes` of sets and elements true, those of one set together.

    `whole`: all changes of the apply, which tell the size of a new set, and which sets are destroyed (they
    are flushed at once). KernelError names the first refused change; others may have been made.
    """
    requests = _Requests(whole, sockets)
    members: dict[tuple[bool, SetKey], list[Change]] = {}
    for one in changes:
        if isinstance(one.key, ElementKey):
            members.setdefault((one.new is None, one.key.home), []).append(one)
        elif isinstance(one.key, SetKey):
            requests.definition(one.key, one)
    for (gone, home), group in members.items():
        name = set_name(home.version, home.name)
        if gone and home in requests.destroyed:
            requests.add(FLUSH, header(name), group[0])
        else:
            requests.elements(DEL if gone else ADD, name, group)
    requests.send()


class _Requests:
    """Messages, each with the changes that it is for."""

    def __init__(self, whole: Iterable[Change], sockets: Sockets | None) -> None:
        self._sockets = sockets
        self.destroyed = {c.key for c in whole if isinstance(c.key, SetKey) and c.new is None}
        self._expected = Counter(
            c.key.home for c in whole if isinstance(c.key, ElementKey) and c.new is not None
        )
        self._made: list[Request] = []
        self._for: list[Sequence[Change]] = []

    def add(self, kind: int, payload: bytes, *changes: Change) -> None:
        self._made.append((kind, 0, payload))
        self._for.append(changes)

    def definition(self, key: SetKey, change: Change) -> None:
        """A set comes, goes, or gets another definition."""
        if change.new is None:
            self.add(DESTROY, header(set_name(key.version, key.name)), change)
        elif change.old is None:
            self.create(key, change, set_name(key.version, key.name))
        else:
            self.rebuild(key, change)

    def create(self, key: SetKey, change: Change, name: str) -> None:
        try:
            self.add(CREATE, create(name, change.new, self._expected[key]), change)
        except ValueError as e:
            raise KernelError(f"ipset: {ipset_command(change.key, change.new)}: what is {e}?") from None

    def elements(self, kind: int, name: str, changes: Sequence[Change]) -> None:
        packed: list[bytes] = []
        held: list[Change] = []
        size = 0
        for one in changes:
            assert isinstance(one.key, ElementKey)
            try:
                data = element(one.key.version, one.key.entry, one.new or "", len(held))
            except (ValueError, OSError):
                raise KernelError(
                    f"ipset: {ipset_command(one.key, one.new)}: no element of this set"
                ) from None
            packed.append(data)
            held.append(one)
            size += len(data)
            if size > LIMIT:
                self.add(kind, elements(name, packed), *held)
                packed, held, size = [], [], 0
        if packed:
            self.add(kind, elements(name, packed), *held)

    def rebuild(self, key: SetKey, change: Change) -> None:
        """Replace a set by one of the new definition with the same elements; its rules never miss one."""
        name = set_name(key.version, key.name)
        if change.old.split()[:3] != change.new.split()[:3]:  # type and family: IPSET_CMD_SWAP refuses that
            raise KernelError(
                f"ipset: {name} is a {change.old}, not a {change.new}: kcompile delete, then apply"
            )
        with opened(self._sockets, NETLINK_NETFILTER) as netlink:
            held = _observe(netlink, name, key.version, key.name)
        held.pop(key, None)
        self._expected[key] += len(held)
        spare = f"{name}.new"
        self.add(DESTROY, header(spare), Change(key, "", None))
        self.create(key, change, spare)
        self.elements(
            ADD,
            spare,
            [Change(member, None, supported(options, change.new)) for member, options in held.items()],
        )
        self.add(SWAP, header(name, spare), change)
        self.add(DESTROY, header(spare), change)

    def send(self) -> None:
        refused: list[tuple[int, Change, int]] = []

        def failed(at: int, code: int, request: memoryview) -> None:
            of = self._for[at]
            line = line_of(request) if len(of) > 1 else 0
            if code != errno.ENOENT or of[line].new is not None:  # what is gone already needs no removal
                refused.append((self._made[at][0], of[line], code))

        if self._made:
            with opened(self._sockets, NETLINK_NETFILTER) as netlink:
                netlink.send(self._made, failed)
        if refused:
            kind, change, code = refused[0]
            command = ipset_command(change.key, change.new)
            if kind == SWAP and isinstance(change.key, SetKey):
                command = f"swap {set_name(change.key.version, change.key.name)}"
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            raise KernelError(f"ipset: {command}: {_reason(code)}{more}")


def _reason(code: int) -> str:
    return _REASONS.get(code) or (os.strerror(code) if code < 4096 else f"error {code}")
