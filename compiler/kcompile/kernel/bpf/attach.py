"""Where programs run: tc on an interface (tcx links, before Linux 6.6 filters of clsact), XDP on an
interface, sockets of a cgroup.

A link is pinned under the name of its `Attachment`. A later run finds the pin and puts its program into the
link, so there is always one program at work, and never two. Filters of clsact have a handle and priority of
our own instead, and are replaced the same way. Everything acts on the current network namespace.
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
from .library import Fd
from .programs import KINDS

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
_LINK_XDP, _LINK_CGROUP, _LINK_TCX = 6, 3, 11
_PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_PRIORITY, _HANDLE = 0x6B63, 0x6B63  # "kc": what marks a clsact filter as ours
_ETH_P_ALL = 3
_LOOPBACK = 1  # in every namespace
_GET_FILTERS, _TCA_OPTIONS, _BPF_ID = (
    46,
    2,
    11,
)  # RTM_GETTFILTER, TCA_BPF_ID (linux/rtnetlink.h, linux/pkt_cls.h)
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
    place: Attachment,
    program: Fd,
    *,
    cgroup: Path | None = None,
    mode: XdpMode = XdpMode.NATIVE,
    links: bool = True,
) -> Outcome:
    """Make `program` the one at `place`; `folder` keeps the pins of links.

    `cgroup`: the directory, for hooks of sockets.

    `links` False: clsact filters instead of tcx links. Raises KernelError; its cause is the OSError
    (EOPNOTSUPP: no native XDP here, EBUSY or EEXIST: another XDP program is there).
    """
    path = folder / place.pin
    old = pins.open_pin(path)
    if old is not None:
        info = library.link_info(old)
        if _alive(info, place, cgroup, mode):
            if info.program == library.program_info(program).id:
                return Outcome.KEPT
            library.link_update(old, program)
            return Outcome.REPLACED
        _detach_link(old)
    if place.hook in _TCX:
        if not links or not has_tcx() or (link := _tcx(place, program)) is None:
            if old is not None:
                path.unlink(missing_ok=True)
            return _filter(place, program)
    elif place.hook == "xdp":
        link = library.link_create(program, place.target, KINDS["xdp"][1], mode.value)
    else:
        if cgroup is None:
            raise KernelError(f"{place.hook}: no cgroup named")
        directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            link = library.link_create(program, directory, KINDS[place.hook][1])
        finally:
            os.close(directory)
    pins.pin(link, path)
    return Outcome.CREATED


def _alive(info: library.LinkInfo, place: Attachment, cgroup: Path | None, mode: XdpMode) -> bool:
    """Whether the pinned link still is where it has to be: it outlives its interface or cgroup as a shell."""
    if info.type == _LINK_CGROUP:
        return cgroup is not None and info.target == cgroup.stat().st_ino
    if info.target != place.target:
        return False
    # the driver's mode is no part of a link's information; it is one of the interface's
    return info.type != _LINK_XDP or xdp_of(place.target)[0] is mode


def _tcx(place: Attachment, program: Fd) -> Fd | None:
    """A tcx link; None where this kernel has none."""
    try:
        return library.link_create(program, place.target, _TCX[place.hook])
    except KernelError as e:
        if isinstance(e.__cause__, OSError) and e.__cause__.errno == errno.EINVAL:
            return None
        raise


def _detach_link(link: Fd) -> None:
    with contextlib.suppress(KernelError):  # it may be a shell already
        library.link_detach(link)


def detach(folder: Path, place: Attachment) -> None:
    """Remove what `attach` made at `place`; nothing happens where there is nothing."""
    path = folder / place.pin
    link = pins.open_pin(path)
    if link is not None:
        _detach_link(link)
        path.unlink()
    if place.hook in _TCX:
        _remove_filter(place)


def has_tcx() -> bool:
    """Whether this kernel has tcx (Linux 6.6)."""
    try:
        library.query(_LOOPBACK, _TCX["ingress"])
    except KernelError as e:
        return not (isinstance(e.__cause__, OSError) and e.__cause__.errno == errno.EINVAL)
    return True


def attached(folder: Path) -> Iterator[tuple[Attachment, int]]:
    """Every attachment with the id of its program, 0 where its interface or cgroup is gone: what is pinned,
    and filters of clsact.
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


def _filter(place: Attachment, program: Fd) -> Outcome:
    """A direct-action filter of clsact, replaced where it is."""
    from pyroute2.netlink.exceptions import NetlinkError

    with _netlink() as route:
        try:
            with contextlib.suppress(NetlinkError):  # it is there already; if it can't be, the filter says so
                route.tc("add", "clsact", place.target)
            was = any(True for _ in _filters(route, place))
            route.tc(
                "replace-filter", "bpf", place.target, handle=_HANDLE, parent=_PARENTS[place.hook], prio=_PRIORITY, protocol=_ETH_P_ALL,
                fd=program.number, name=f"kcompile:{place.hook}", direct_action=True,
            )  # fmt: skip
        except NetlinkError as e:
            raise KernelError(
                f"interface {place.target}: a clsact filter: {os.strerror(e.code)}"
            ) from OSError(e.code, str(e))
    return Outcome.REPLACED if was else Outcome.CREATED


def _filters(route: Any, place: Attachment) -> Iterator[Any]:
    from pyroute2.netlink.exceptions import NetlinkError

    with contextlib.suppress(NetlinkError):  # no clsact
        for entry in route.get_filters(place.target, parent=_PARENTS[place.hook]):
            if entry["handle"] == _HANDLE and entry["info"] >> 16 == _PRIORITY:
                yield entry


def _filtered() -> Iterator[tuple[Attachment, int]]:
    """Our filters of clsact on every interface, with the ids of their programs, which pyroute2 doesn't read."""
    with Netlink(NETLINK_ROUTE) as netlink:
        for index, _ in socket.if_nameindex():
            for hook, parent in _PARENTS.items():
                with contextlib.suppress(OSError):  # no clsact
                    for data, start, end in netlink.dump(_GET_FILTERS, _TCMSG.pack(0, index, 0, parent, 0)):
                        _, _, handle, _, info = _TCMSG.unpack_from(data, start)
                        if handle == _HANDLE and info >> 16 == _PRIORITY:
                            options = {
                                kind: (first, last)
                                for kind, first, last in attributes(data, start + _TCMSG.size, end)
                            }
                            inner = {
                                kind: first
                                for kind, first, _ in attributes(data, *options.get(_TCA_OPTIONS, (0, 0)))
                            }
                            number = (
                                int.from_bytes(data[inner[_BPF_ID] : inner[_BPF_ID] + 4], sys.byteorder)
                                if _BPF_ID in inner
                                else 0
                            )
                            yield Attachment(hook, index), number


def _remove_filter(place: Attachment) -> None:
    """Remove our filter, and clsact itself when no filter of anybody is left there: without one it does
    nothing.
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with _netlink() as route:
        if any(True for _ in _filters(route, place)):
            route.tc(
                "del-filter",
                "bpf",
                place.target,
                handle=_HANDLE,
                parent=_PARENTS[place.hook],
                prio=_PRIORITY,
                protocol=_ETH_P_ALL,
            )
            if not any(
                True for parent in _PARENTS.values() for _ in route.get_filters(place.target, parent=parent)
            ):
                with contextlib.suppress(NetlinkError):  # somebody else was quicker
                    route.tc("del", "clsact", place.target)


# what else is there


def xdp_of(interface: int) -> tuple[XdpMode | None, int]:
    """The mode and the id of the XDP program on `interface`; (None, 0) without one."""
    with _netlink() as route:
        for link in route.get_links(interface):
            xdp = link.get_attr("IFLA_XDP")
            attached = (
                {"xdp": XdpMode.NATIVE, "xdpgeneric": XdpMode.GENERIC}.get(xdp.get_attr("IFLA_XDP_ATTACHED"))
                if xdp
                else None
            )
            return attached, (xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if attached else 0
    return None, 0


def other_programs(interface: int, ours: set[int]) -> list[str]:
    """Programs on `interface` whose ids aren't in `ours`: a line for each."""
    found = [("XDP", xdp_of(interface)[1])]
    for hook, kind in _TCX.items():
        with contextlib.suppress(KernelError):  # a kernel without tcx
            found += [(f"tc {hook}", number) for number in library.query(interface, kind)]
    lines = []
    for where, number in found:
        if number and number not in ours:
            program = library.program_by_id(number)
            lines.append(
                f"{where}: program {number}{f' ({library.program_info(program).name})' if program else ''}"
            )
    return lines
