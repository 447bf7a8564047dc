"""The moment that a change is in the kernel, seen from outside of the agent.

nftables, iptables-nft  nf_tables notifies of each transaction that is in force
iptables-legacy         the kernel is asked for the number of rules of its tables (80 us)
ipvs                    the kernel is asked for the real servers of one virtual server
xdp                     one entry of a pinned map is read (5 us): that of the VIP, and the one that names the
                        Service's table of backends, which is written last

What is asked is asked every half of a millisecond, so it is seen by that much late.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from kcompile.kernel.bpf import library
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.ipvs.read import real_servers
from kcompile.kernel.layouts import Layouts
from kcompile.kernel.netlink import Sockets
from kcompile.kernel.netns import entered
from kcompile.kernel.watch import Watch
from kcompile.targets.ipvs.resources import VirtualServerKey
from kcompile.targets.xdp import layout

from ..generate import PORT
from .place import Place

__all__ = ["Seen", "seen"]

_TCP = 6


class Seen(Protocol):
    """Sees changes of the Service with a VIP."""

    filenos: tuple[int, ...]

    def look(self, vip: str) -> None:
        """Keep what the kernel has now."""

    def changed(self) -> bool:
        """Whether the kernel has something else than at the last look."""


class _Notified:
    def __init__(self, watch: Watch) -> None:
        self._watch, self.filenos = watch, watch.filenos()

    def look(self, _: str) -> None:
        self._watch.read()

    def changed(self) -> bool:
        return bool(self._watch.read().generations)


class _Asked:
    """`ask`: what the kernel has of the Service with a VIP."""

    filenos: tuple[int, ...] = ()

    def __init__(self, ask: Callable[[str], object]) -> None:
        self._ask, self._vip = ask, ""
        self._had: object = None

    def look(self, vip: str) -> None:
        self._vip = vip
        self._had = self._ask(vip)

    def changed(self) -> bool:
        return self._ask(self._vip) != self._had


class _Counted:
    filenos: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._layouts = Layouts()

    def look(self, _: str) -> None:
        self._layouts.touched()

    def changed(self) -> bool:
        return self._layouts.touched()


@contextlib.contextmanager
def seen(place: Place, mode: str) -> Iterator[Seen]:
    """What sees changes on the node of `place`, which has rules of `mode`. The body is in its namespace."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(entered(place.netns))
        if mode == "iptables-legacy":
            yield _Counted()
        elif mode == "ipvs":
            sockets = Sockets()
            stack.callback(sockets.close)
            yield _Asked(lambda vip: real_servers([VirtualServerKey(4, "tcp", vip, PORT)], sockets))
        elif mode == "xdp":
            yield _Asked(_Maps(Path(place.environment["KCOMPILE_BPF_DIR"])).entries)
        else:
            yield _Notified(stack.enter_context(Watch(driver_for(mode))))


class _Maps:
    """The pinned maps of the one node below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._maps = {}
        for name in ("frontends4", "pools"):
            (path,) = folder.rglob(name)
            fd = library.obj_get(str(path), name)
            if fd is None:
                raise RuntimeError(f"{path} is gone")
            self._maps[name] = fd

    def entries(self, vip: str) -> object:
        """The entry of a VIP, and that of its pool of backends; None where there is none."""
        key = layout.FRONTEND_KEY4.pack(bytes(map(int, vip.split("."))), PORT.to_bytes(2, "big"), _TCP)
        frontend = library.lookup(self._maps["frontends4"], key, layout.FRONTEND.size)
        if frontend is None:
            return None
        number = layout.FRONTEND.unpack(frontend)[0]
        pool = library.lookup(self._maps["pools"], layout.INDEX.pack(2 * number), layout.POOL.size)
        return frontend, pool
