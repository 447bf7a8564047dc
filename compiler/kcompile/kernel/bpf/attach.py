"""Attaches programs: tc on an interface (tcx links; clsact filters before Linux 6.6), XDP on an interface,
and the sockets of a cgroup.

A link is pinned under the name of its `Attachment`. A later run replaces the program in the pinned link
atomically. A clsact filter is replaced by its handle and priority instead. Everything acts on the current
network namespace.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import KernelError
from ..netlink import NETLINK_ROUTE, Netlink, attributes
from . import library, pins
from .programs import KINDS
from .syscall import Fd

__all__ = [
    "Attachment",
    "Outcome",
    "XdpMode",
    "attach",
    "attached",
    "detach",
    "has_tcx",
    "other_programs",
    "xdp_of",
]

_TCX = {"ingress": 46, "egress": 47}
_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_PRIORITY, _HANDLE = 0x6B63, 0x6B63  # "kc": what marks a clsact filter as ours
_ETH_P_ALL = 3
_LOOPBACK = 1  # in every namespace
_GET_FILTERS = 46  # RTM_GETTFILTER (linux/rtnetlink.h)
_TCA_OPTIONS, _BPF_ID = 2, 11  # TCA_OPTIONS, TCA_BPF_ID (linux/pkt_cls.h)
_TCMSG = struct.Struct("=B3xiIII")  # family, interface, handle, parent, priority and protocol


class XdpMode(enum.Enum):
    """How an XDP program is run: by the driver, or by the stack on every packet that became an skb.

    `value`: XDP_FLAGS_*.
    """

    NATIVE = 4
    GENERIC = 2


class Outcome(enum.Enum):
    """What `attach` did."""

    CREATED = "created"
    REPLACED = "replaced"
    KEPT = "kept"


class Attachment(NamedTuple):
    """`hook` is a program's name in bpf/ (programs.KINDS).

    `target`: an interface index, or 0 for the hooks of sockets.
    """

    hook: str
    target: int = 0

    @property
    def pin(self) -> str:
        return f"{self.hook}-{self.target}" if self.target else self.hook

    @staticmethod
    def parse(name: str) -> Attachment:
        hook, _, target = name.partition("-")
        return Attachment(hook, int(target or 0))


def attach(
    folder: Path,
    attachment: Attachment,
    program: Fd,
    *,
    cgroup: Path | None = None,
    mode: XdpMode = XdpMode.NATIVE,
    links: bool = True,
) -> Outcome:
    """Attach `program` at `attachment`, in place of an earlier one of ours.

    `folder`: where links are pinned. `cgroup`: its directory, for the hooks of sockets. `tcx` False: clsact
    filters instead of tcx links. Raises KernelError; its cause is the OSError (EOPNOTSUPP: no native XDP
    here, EBUSY or EEXIST: another XDP program is there).
    """
    path = folder / attachment.pin
    old = pins.open_pin(path)
    if old is not None:
        info = library.link_info(old)
        if _alive(info, attachment, cgroup, mode):
            if info.program == library.program_info(program).id:
                return Outcome.KEPT
            library.link_update(old, program)
            return Outcome.REPLACED
        _detach_link(old)
    if attachment.hook in _TCX:
        if not links or not has_tcx() or (link := _tcx(attachment, program)) is None:
            if old is not None:
                path.unlink(missing_ok=True)
            return _filter(attachment, program)
    elif attachment.hook == "xdp":
        link = library.link_create(program, attachment.target, KINDS["xdp"][1], mode.value)
    else:
        if cgroup is None:
            raise KernelError(f"{attachment.hook}: no cgroup named")
        directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            link = library.link_create(program, directory, KINDS[attachment.hook][1])
        finally:
            os.close(directory)
    pins.pin(link, path)
    return Outcome.CREATED


def _alive(info: library.LinkInfo, attachment: Attachment, cgroup: Path | None, mode: XdpMode) -> bool:
    """True if the pinned link is still attached.

    A link survives its interface or cgroup as a dead object.
    """
    if info.type == library.LINK_CGROUP:
        return cgroup is not None and info.target == cgroup.stat().st_ino
    if info.target != attachment.target:
        return False
    # a link doesn't say whether it runs in native or generic mode; its interface does
    return info.type != library.LINK_XDP or xdp_of(attachment.target)[0] is mode


def _tcx(attachment: Attachment, program: Fd) -> Fd | None:
    """A tcx link; None where this kernel has none."""
    try:
        return library.link_create(program, attachment.target, _TCX[attachment.hook])
    except KernelError as e:
        if isinstance(e.__cause__, OSError) and e.__cause__.errno == errno.EINVAL:
            return None
        raise


def _detach_link(link: Fd) -> None:
    with contextlib.suppress(KernelError):  # it may be dead already
        library.link_detach(link)


def detach(folder: Path, attachment: Attachment) -> None:
    """Remove what `attach` made at `attachment`, if there is anything."""
    path = folder / attachment.pin
    link = pins.open_pin(path)
    if link is not None:
        _detach_link(link)
        path.unlink()
    if attachment.hook in _TCX:
        _remove_filter(attachment)


def has_tcx() -> bool:
    """Whether this kernel has tcx (Linux 6.6)."""
    try:
        library.query(_LOOPBACK, _TCX["ingress"])
    except KernelError as e:
        return not (isinstance(e.__cause__, OSError) and e.__cause__.errno == errno.EINVAL)
    return True


def attached(folder: Path) -> Iterator[tuple[Attachment, int]]:
    """Every attachment of ours, pinned link or clsact filter, with the id of its program.

    The id is 0 where the interface or cgroup is gone.
    """
    if not has_tcx():
        yield from _filtered()
    for path in pins.pins(folder):
        link = pins.open_pin(path)
        if link is not None:
            info = library.link_info(link)
            yield Attachment.parse(path.name), info.program if info.target else 0


# clsact


def _netlink() -> Any:
    from pyroute2 import IPRoute

    return IPRoute()


def _filter(attachment: Attachment, program: Fd) -> Outcome:
    """A direct-action filter of clsact, replaced where it is."""
    from pyroute2.netlink.exceptions import NetlinkError

    with _netlink() as route:
        try:
            with contextlib.suppress(NetlinkError):  # clsact exists, or the filter fails below
                route.tc("add", "clsact", attachment.target)
            was = any(True for _ in _filters(route, attachment))
            name = f"kcompile:{attachment.hook}"
            ours = _ours(attachment)
            route.tc("replace-filter", fd=program.number, name=name, direct_action=True, **ours)
        except NetlinkError as e:
            raise KernelError(
                f"interface {attachment.target}: a clsact filter: {os.strerror(e.code)}"
            ) from OSError(e.code, str(e))
    return Outcome.REPLACED if was else Outcome.CREATED


def _ours(attachment: Attachment) -> dict[str, Any]:
    """pyroute2's arguments that name our filter at `attachment`."""
    return {
        "kind": "bpf",
        "index": attachment.target,
        "handle": _HANDLE,
        "parent": _PARENTS[attachment.hook],
        "prio": _PRIORITY,
        "protocol": _ETH_P_ALL,
    }


def _filters(route: Any, attachment: Attachment) -> Iterator[Any]:
    """Our filter at `attachment` as pyroute2 lists it; nothing where there is none."""
    from pyroute2.netlink.exceptions import NetlinkError

    with contextlib.suppress(NetlinkError):  # no clsact
        for entry in route.get_filters(attachment.target, parent=_PARENTS[attachment.hook]):
            if entry["handle"] == _HANDLE and entry["info"] >> 16 == _PRIORITY:
                yield entry


def _filtered() -> Iterator[tuple[Attachment, int]]:
    """Our clsact filters on every interface, each with the id of its program (pyroute2 doesn't read it)."""
    with Netlink(NETLINK_ROUTE) as netlink:
        for index, _ in socket.if_nameindex():
            for hook, parent in _PARENTS.items():
                for number in _program_ids(netlink, index, parent):
                    yield Attachment(hook, index), number


def _program_ids(netlink: Netlink, interface: int, parent: int) -> Iterator[int]:
    """The program ids of our filters at `parent` of `interface`; 0 where the kernel doesn't say."""
    with contextlib.suppress(OSError):  # no clsact
        for data, start, end in netlink.dump(_GET_FILTERS, _TCMSG.pack(0, interface, 0, parent, 0)):
            _, _, handle, _, info = _TCMSG.unpack_from(data, start)
            if handle == _HANDLE and info >> 16 == _PRIORITY:
                yield _program_id(data, start + _TCMSG.size, end)


def _program_id(data: memoryview, start: int, end: int) -> int:
    """TCA_BPF_ID in the attributes of a filter between two offsets, 0 without one."""
    for kind, first, last in attributes(data, start, end):
        if kind != _TCA_OPTIONS:
            continue
        for inner, at, _ in attributes(data, first, last):
            if inner == _BPF_ID:
                return int.from_bytes(data[at : at + 4], sys.byteorder)
    return 0


def _remove_filter(attachment: Attachment) -> None:
    """Remove our filter, and clsact too if that was its last filter."""
    from pyroute2.netlink.exceptions import NetlinkError

    with _netlink() as route:
        if any(True for _ in _filters(route, attachment)):
            route.tc("del-filter", **_ours(attachment))
            if not any(_any_filter(route, attachment.target, parent) for parent in _PARENTS.values()):
                with contextlib.suppress(NetlinkError):  # somebody else has removed clsact meanwhile
                    route.tc("del", "clsact", attachment.target)


def _any_filter(route: Any, interface: int, parent: int) -> bool:
    """Whether clsact of `interface` has a filter of anybody at `parent`."""
    return any(True for _ in route.get_filters(interface, parent=parent))


# what else is there


def xdp_of(interface: int) -> tuple[XdpMode | None, int]:
    """The mode and the id of the XDP program on `interface`; (None, 0) without one."""
    with _netlink() as route:
        for link in route.get_links(interface):
            xdp = link.get_attr("IFLA_XDP")
            mode = _XDP_MODES.get(xdp.get_attr("IFLA_XDP_ATTACHED")) if xdp else None
            return mode, (xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if mode else 0
    return None, 0


_XDP_MODES = {"xdp": XdpMode.NATIVE, "xdpgeneric": XdpMode.GENERIC}  # as pyroute2 says it


def other_programs(interface: int, ours: set[int]) -> list[str]:
    """Programs on `interface` whose ids aren't in `ours`: a line for each."""
    found = [("XDP", xdp_of(interface)[1])]
    for hook, kind in _TCX.items():
        with contextlib.suppress(KernelError):  # a kernel without tcx
            found += [(f"tc {hook}", number) for number in library.query(interface, kind)]
    foreign = [(where, number) for where, number in found if number and number not in ours]
    return [f"{where}: program {number}{_name(number)}" for where, number in foreign]


def _name(number: int) -> str:
    """`` (NAME)`` of the program with id `number`; empty where it is gone."""
    program = library.program_by_id(number)
    return f" ({library.program_info(program).name})" if program else ""
