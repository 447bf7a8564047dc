"""Mode xdp on a node: its maps, the programs that read them, and where those are attached.

Acts on the current network namespace.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...errors import KernelError, UnsupportedError
from ...files import remove_file
from ...notices import Notice
from ...program import Change, Key
from ...targets.xdp import layout
from ...targets.xdp.resources import ROOT_CGROUP, AttachKey, StrayKey
from .. import netns
from ..ctnetlink import Entry
from ..kept import keep, kept
from . import attach, crc32c, flows, grow, library, packet_filter, pins, programs
from .arrays import numpy_missing
from .attach import Attachment
from .carry import Carrier
from .hooks import SOCKETS, SOURCES, Hooks
from .numbers import MapFullError
from .observe import State, needs, read
from .syscall import Fd
from .writer import Writer

__all__ = ["XdpKernel"]

_FILE = "xdp.json"


class PinRecord(msgspec.Struct):
    """Where an apply has put its pins (`pins.base`), and the path of its cgroup.

    The kernel knows neither: a link has only the number of its cgroup.
    """

    bpffs: str
    cgroup: str = ROOT_CGROUP


class XdpKernel:
    """One node.

    `directory`: its run directory; the folder of pins has the same name. `capacities`: entries of maps, by
    name; smaller ones are replaced.
    """

    def __init__(self, directory: Path, capacities: Mapping[str, int] | None = None) -> None:
        self.directory = directory
        self._record = kept(directory / _FILE, PinRecord)
        self.base = pins.base()
        if self._record is not None and _pins_of(Path(self._record.bpffs), directory).is_dir():
            self.base = Path(self._record.bpffs)
        self.folder = _pins_of(self.base, directory)
        self.capacities = dict(capacities or {})
        self.hooks = Hooks(self.folder / "links", self.folder / "programs")
        self.links = self.hooks.links
        self.generation = 0  # how often maps have grown
        self._maps = self.folder / "maps"
        self._writer: Writer | None = None
        self.carrying = False  # whether apply takes over connections from conntrack
        self.carried: list[Entry] = []
        self._leftover: bool | None = None  # whether there are unusable pins; None: not observed yet

    # what is there

    def observe(self) -> dict[Key, Any]:
        """The Program on this node; empty where nothing is pinned."""
        self._writer, self._leftover = None, False
        if not any(True for _ in pins.pins(self.folder)):
            return {}
        # not UnsupportedError, which callers take for a mode that isn't installed
        if missing := numpy_missing():
            raise KernelError(f"this node has rules of mode xdp, and to read them: {missing}")
        self._leftover = True
        leftovers: dict[Key, Any] = {StrayKey("pins", str(self.folder)): ""}
        maps = {name: fd for name in layout.MAPS if (fd := pins.open_pin(self._maps / name)) is not None}
        for name, fd in maps.items():
            fd.name = name
        if layout.MAPS.keys() - maps.keys() - layout.ADDED:
            return leftovers
        value = library.lookup(maps["config"], layout.INDEX.pack(0), layout.CONFIG.size)
        if value is None or layout.CONFIG.unpack(value)[1] != netns.cookie():
            return leftovers  # of a deleted namespace, or of an apply that was killed at its start
        state = read(maps)
        self._writer, self._leftover = Writer(maps, state), False
        state.program.update(self.attachments())
        for name, capacity in self.capacities.items():
            if state.capacities.get(name, capacity) < capacity:
                state.program[StrayKey("sizes", name)] = ""
        return dict(state.program)

    def attachments(self) -> dict[Key, Any]:
        """What of ours is attached, and how."""
        return self.hooks.attachments(self._cgroup())

    def _cgroup(self) -> str:
        return self._record.cgroup if self._record is not None else ROOT_CGROUP

    def keep(self, changes: Iterable[Change]) -> None:
        """Before an apply: write down where its pins and cgroup are, for later commands.

        Raises KernelError where there is no room.
        """
        made = [c.key for c in changes if c.new is not None]
        if not made:
            return
        cgroups = [key.name for key in made if isinstance(key, AttachKey) and key.hook not in SOURCES]
        record = PinRecord(str(self.base), cgroups[0] if cgroups else self._cgroup())
        if record != self._record:
            keep(self.directory / _FILE, record)
            self._record = record

    def require(self) -> None:
        """Raise UnsupportedError where this node lacks numpy, a bpffs, or programs and their compiler."""
        if missing := numpy_missing():
            raise UnsupportedError(f"mode xdp: {missing}")
        pins.require(self.folder)
        programs.compile_file("tc.c")

    # changes

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        """Make `changes`; returns warnings.

        Maps are written first, then programs attached. To remove everything, programs are detached first.
        """
        if self._leftover is None:
            self.observe()
        if self._leftover:
            self.remove()
            changes = [c for c in changes if not isinstance(c.key, StrayKey)]
        if self._is_removal(changes):
            self.remove()
            return []
        self.keep(changes)
        writer = self._writer or self._create(changes)
        if missing := [spec for spec in self._specs({}) if spec.name not in writer.maps]:
            writer.maps = {**writer.maps, **pins.open_maps(self._maps, missing, _contents())[0]}
        for change in changes:
            if isinstance(change.key, AttachKey) and change.new is None:
                self.hooks.detach(change.key)
        if not self.hooks.are_loaded():
            packet_filter.suspend(writer.maps)
        indices = {name: index for index, name in socket.if_nameindex()}
        small = [c.key.entry for c in changes if isinstance(c.key, StrayKey) and c.key.map == "sizes"]
        if small:
            writer = self._grow(writer, {name: self.capacities[name] for name in small})
        writer = self._write(writer, changes, indices)
        carrying = self.carrying
        warnings = self._carry(writer)
        warnings += self.hooks.attach(writer.maps, changes, indices)
        warnings += self._carry(writer)  # connections that began meanwhile
        for change in changes:
            if isinstance(change.key, StrayKey) and change.key.map == "links":
                attach.detach(self.links, Attachment.parse(change.key.entry))
            elif isinstance(change.key, AttachKey):
                writer.state.change(change.key, change.old, change.new)
        packet_filter.resume(writer.maps, settled=carrying is self.carrying)  # else it has failed
        self.hooks.forget_old_builds()
        return warnings

    def write(self, changes: Sequence[Change]) -> None:
        """Make `changes` of map entries, after `observe` has found maps; nothing is attached."""
        assert self._writer is not None
        self._write(self._writer, changes, {})

    def _is_removal(self, changes: Sequence[Change]) -> bool:
        """True if `changes` remove everything that was observed."""
        before = self._writer.state.program if self._writer is not None else {}
        only_removals = all(change.old is not None and change.new is None for change in changes)
        return only_removals and len(changes) >= len(before)

    def _write(self, writer: Writer, changes: Sequence[Change], indices: Mapping[str, int]) -> Writer:
        """Write the maps, and remove the UDP flows to what is gone.

        Returns the writer, a new one where maps have grown.
        """
        entries = [c for c in changes if not isinstance(c.key, AttachKey) and not _is_stray_object(c.key)]
        packet_filter.add_frontends(writer.maps, entries)
        while True:
            try:
                gone = writer.apply(entries, netns.cookie(), indices)
            except MapFullError as e:
                if e.name in self.capacities:
                    self._writer, self._leftover = None, None
                    raise
                writer = self._grow(writer, grow.sizes(writer.state, entries, e))
            except KernelError:
                self._writer, self._leftover = None, None  # the maps must be read again
                raise
            else:
                flows.purge(writer.maps, gone)
                return writer

    def _grow(self, writer: Writer, sizes: Mapping[str, int]) -> Writer:
        """Put larger maps in the place of those in `sizes`, and programs that use them; a new writer."""
        self._writer, self._leftover = None, None  # until it is done
        made = grow.larger(writer.maps, sizes)
        maps = {**writer.maps, **made}
        attached = self.hooks.unpin(self._cgroup())
        for name, fd in made.items():
            pins.replace(fd, self._maps / name)
        self.hooks.attach(maps, attached, {name: index for index, name in socket.if_nameindex()})
        grow.copy_later(writer.maps, made)
        state = read(maps)
        state.program.update(self.attachments())
        self._writer, self._leftover = Writer(maps, state), False
        self.generation += 1
        return self._writer

    def _carry(self, writer: Writer) -> list[Notice]:
        """If `carrying`, take over the connections that conntrack translates; returns warnings."""
        if not self.carrying:
            return []
        carrier = Carrier(writer.maps, writer.state, {entry.key: entry for entry in self.carried})
        try:
            carrier.run()
        except KernelError as e:
            self.carrying = False
            text = f"open connections through Services end with this change of mode ({e})"
            return [Notice("connections-end", text)]
        self.carried = list(carrier.carried.values())
        return []

    def _create(self, changes: Iterable[Change]) -> Writer:
        """Make maps with twice the entries that `changes` need."""
        specs = self._specs({c.key: c.new for c in changes if c.new is not None})
        maps, _ = pins.open_maps(self._maps, specs, _contents())
        self._writer = Writer(maps, State({spec.name: spec.max_entries for spec in specs}), fresh=True)
        return self._writer

    def _specs(self, program: Mapping[Key, Any]) -> list[pins.MapSpec]:
        wanted = needs(program)
        specs = []
        for name, m in layout.MAPS.items():
            capacity = self.capacities.get(name, max(m.capacity, 2 * wanted.get(name, 0)))
            specs.append(pins.MapSpec(name, m.type, m.key.size, m.value.size, capacity, m.flags))
        return specs

    def check(self, desired: Mapping[Key, Any]) -> None:
        """Write the maps of `desired` and load its programs, unpinned; raises what an apply would."""
        specs = self._specs(desired)
        maps = {spec.name: library.create_map(*spec[1:], name=spec.name) for spec in specs}
        writer = Writer(maps, State({spec.name: spec.max_entries for spec in specs}), fresh=True)
        in_maps = ((key, value) for key, value in desired.items() if not isinstance(key, AttachKey))
        indices = {name: index for index, name in socket.if_nameindex()}
        writer.apply([Change(key, None, value) for key, value in in_maps], netns.cookie(), indices)
        hooks = (key.hook for key in desired if isinstance(key, AttachKey))
        for source in dict.fromkeys(SOURCES.get(hook, SOCKETS) for hook in hooks):
            programs.load(programs.compile_file(source), maps)

    def remove(self) -> None:
        """Detach and unpin everything."""
        for attachment, _ in list(attach.attached(self.links)):
            attach.detach(self.links, attachment)
        pins.remove(self.folder)
        remove_file(self.directory / _FILE)
        self._record = None
        self._writer, self._leftover = None, False

    # for people

    def maps(self) -> dict[str, Fd]:
        """The node's maps by name, after `observe` or `apply`; empty where there are none."""
        return dict(self._writer.maps) if self._writer is not None else {}

    @property
    def is_read(self) -> bool:
        """Whether this process knows what the maps hold."""
        return self._writer is not None

    def state(self) -> State:
        """The contents of the maps, after `observe` or `apply`."""
        assert self._writer is not None
        return self._writer.state

    def counters(self) -> list[str]:
        """A line for each backend's counters and for each reason to drop a packet or not to handle it."""
        if self._writer is None:
            return []
        return [*flows.served(self._writer.maps, self._writer.state), *flows.reasons(self._writer.maps)]

    def filling(self) -> dict[str, tuple[int, int]]:
        """What flows.filling says of the pinned maps; empty where there are none."""
        names = [layout.flow_maps(version)[0] for version in (4, 6)]
        maps = {name: fd for name in names if (fd := pins.open_pin(self._maps / name)) is not None}
        return flows.filling(maps, time.monotonic_ns()) if len(maps) == len(names) else {}

    def connections(self) -> list[flows.Connection]:
        """Every translated connection; after `observe`."""
        if self._writer is None:
            return []
        return flows.connections(self._writer.maps, self._writer.state, time.monotonic_ns())


def _contents() -> dict[str, bytes]:
    """The maps whose contents never change."""
    return {"crc32c": crc32c.powers()}


def _is_stray_object(key: Key) -> bool:
    """Whether `key` is no map's entry, but a link, or a map that is too small."""
    return isinstance(key, StrayKey) and key.map in ("links", "sizes")


def _pins_of(base: Path, directory: Path) -> Path:
    """The folder of pins for the node with the run directory `directory`.

    A bpffs takes no dots (bpf_lookup() in kernel/bpf/inode.c).
    """
    return pins.directory(layout.SCHEMA, base) / directory.name.replace("%", "%25").replace(".", "%2E")
