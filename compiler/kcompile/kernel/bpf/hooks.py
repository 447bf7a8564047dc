"""The programs of this build on a node, pinned, and where they are attached.

Acts on the current network namespace.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import KernelError, UnsupportedError
from ...notices import Notice
from ...program import Change, Key
from ...targets.xdp.resources import BARE, ROOT_CGROUP, AttachKey, StrayKey
from . import attach, library, pins, programs
from .attach import Attachment, XdpMode
from .syscall import Fd

__all__ = ["SOURCES", "SOCKETS", "Hooks", "build", "cgroup_root"]

SOURCES = {"ingress": "tc.c", "egress": "tc.c", "xdp": "xdp.c"}
"""The source file of each program on an interface."""

SOCKETS = "sock.c"
_NATIVE, _GENERIC = "native", "generic"
_BARE_SUFFIX = "-bare"
_AGE = " (another build)"


class Hooks:
    """One node's. `links`, `programs`: folders of their pins."""

    def __init__(self, links: Path, loaded: Path) -> None:
        self.links, self.programs = links, loaded

    def attachments(self, cgroup: str) -> dict[Key, Any]:
        """What of ours is attached, and how. `cgroup`: the path of that which an apply has chosen."""
        found: dict[Key, Any] = {}
        for attachment, program in attach.attached(self.links):
            current = self._current(attachment.hook)
            age = "" if program in current else _AGE
            if not attachment.target:
                name = cgroup if program and self._in_cgroup(attachment, cgroup) else "?"
                found[AttachKey(attachment.hook, name)] = f"cgroup{age}"
                continue
            try:
                name = socket.if_indextoname(attachment.target)
            except OSError:
                found[StrayKey("links", attachment.pin)] = ""
                continue
            how = current.get(program) or "tc"
            if attachment.hook == "xdp":
                how = _GENERIC if attach.xdp_of(attachment.target)[0] is XdpMode.GENERIC else _NATIVE
            found[AttachKey(attachment.hook, name)] = f"{how}{age}" if program else "dead"
        return found

    def _current(self, hook: str) -> dict[int, str]:
        """Program id -> kind of attachment, for this build's loaded programs of `hook`."""
        found = {}
        for how, name in (("", hook), (BARE, f"{hook}{_BARE_SUFFIX}")):
            fd = pins.open_pin(self.programs / build() / name)
            if fd is not None:
                found[library.program_info(fd).id] = how
        return found

    def _in_cgroup(self, attachment: Attachment, name: str) -> bool:
        link = pins.open_pin(self.links / attachment.pin)
        try:
            return link is not None and library.link_info(link).target == _directory(name).stat().st_ino
        except (OSError, UnsupportedError):
            return False

    def attach(
        self, maps: Mapping[str, Fd], changes: Sequence[Change], indices: Mapping[str, int]
    ) -> list[Notice]:
        """Attach what `changes` add, each by a program that uses `maps`; returns warnings.

        `indices`: interface name -> index.
        """
        warnings: list[Notice] = []
        loaded: dict[str, Fd] = {}
        for change in changes:
            if not isinstance(change.key, AttachKey) or change.new is None:
                continue
            hook, name = change.key.hook, change.key.name
            bare = change.new == BARE
            suffix = _BARE_SUFFIX if bare else ""
            program = loaded.get(f"{hook}{suffix}") or self._load(hook, maps, loaded, bare)
            if hook in SOURCES:
                if name not in indices:
                    text = f"{name}: no such interface; Services are not served there until the next apply"
                    warnings.append(Notice("xdp-interface", text))
                    continue
                mode = XdpMode.GENERIC if change.new == _GENERIC else XdpMode.NATIVE
                try:
                    attach.attach(self.links, Attachment(hook, indices[name]), program, mode=mode)
                except KernelError as e:
                    if hook != "xdp":
                        raise KernelError(f"interface {name}: {e}") from e
                    text = f"{name}: {change.new} XDP is refused ({e}); Services are served there by tc alone"
                    warnings.append(Notice("xdp-interface", text))
            else:
                attach.attach(self.links, Attachment(hook), program, cgroup=_directory(name))
        return warnings

    def _load(self, hook: str, maps: Mapping[str, Fd], loaded: dict[str, Fd], bare: bool = False) -> Fd:
        """The program for `hook`, from its pin or newly loaded; adds it to `loaded`.

        All programs of one source file are loaded together. `bare`: for packets without an Ethernet header.
        """
        folder, suffix = self.programs / build(), _BARE_SUFFIX if bare else ""
        pinned = pins.open_pin(folder / f"{hook}{suffix}")
        if pinned is None:
            defines = programs.BARE_DEFINES if bare else ()
            compiled = programs.compile_file(SOURCES.get(hook, SOCKETS), defines)
            for name, fd in programs.load(compiled, maps).items():
                pins.pin(fd, folder / f"{name}{suffix}")
                loaded[f"{name}{suffix}"] = fd
        else:
            loaded[f"{hook}{suffix}"] = pinned
        return loaded[f"{hook}{suffix}"]

    def detach(self, key: AttachKey) -> None:
        """Detach what is at `key`."""
        if key.hook not in SOURCES:
            attach.detach(self.links, Attachment(key.hook))
            return
        try:
            attach.detach(self.links, Attachment(key.hook, socket.if_nametoindex(key.name)))
        except OSError:  # the interface is gone, and its links with it
            return

    def are_loaded(self) -> bool:
        """Whether programs of this build have been loaded; False: those of an older one may be attached."""
        return (self.programs / build()).is_dir()

    def unpin(self, cgroup: str) -> list[Change]:
        """Unpin this build's programs, which stay attached; returns the changes that attach new ones there.

        From now on `attachments` calls them another build's: after a kill, the next apply attaches new ones.
        """
        attached = [
            Change(key, None, how)
            for key, how in self.attachments(cgroup).items()
            if isinstance(key, AttachKey) and how != "dead" and not how.endswith(_AGE)
        ]
        pins.remove(self.programs / build())
        return attached

    def forget_old_builds(self) -> None:
        """Unpin the programs of other builds."""
        for path in list(self.programs.iterdir()) if self.programs.is_dir() else ():
            if path.name != build():
                pins.remove(path)


@cache
def build() -> str:
    """The name of this build's programs: a hash of their sources."""
    digest = hashlib.sha256()
    folder = programs.sources()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".c", ".h")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cgroup_root() -> Path:
    """The mount point of cgroup2; raises UnsupportedError where there is none."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    remedy = "mount it (mount -t cgroup2 none DIRECTORY), or apply with --socket-lb off"
    raise UnsupportedError(f"cgroup2 is not mounted: {remedy}")


def _directory(name: str) -> Path:
    return cgroup_root() if name == ROOT_CGROUP else Path(name)
