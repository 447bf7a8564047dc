"""Keeps the files of another name server current: BIND, NSD, CoreDNS or dnsmasq.

Files are written whole, and only those that say something else; each zone has its own serial. Then the
server is told by its own means.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from .. import spawn
from ..agent.source import Source
from ..errors import KcompileError
from ..files import write_whole
from .collect import Collector, Wanted
from .render import corefile, hosts, zone_file_name, zone_files
from .zones import Zones

__all__ = ["SERVERS", "Feed", "Kind"]

_AT_MOST = 0.2  # seconds between two writes: changes that come meanwhile go together
_RETRY = 5.0  # seconds until a reload that failed is tried again


class Kind(msgspec.Struct, frozen=True):
    """How a server is fed. `included`: the file that its configuration includes, made of the zones.

    `zone_reload` is told a zone whose file has changed, `reload` that the included file has; empty: the
    server sees it by itself.
    """

    included: str
    entry: Callable[[Zones, str], Iterable[str]]
    reload: str = ""
    zone_reload: str = ""
    has_zones: bool = True


def _bind(zones: Zones, directory: str) -> Iterable[str]:
    for zone in zones.zones:
        name = zone.rstrip(".")
        yield f'zone "{name}" {{ type primary; file "{directory}/{zone_file_name(zone)}"; }};'


def _nsd(zones: Zones, directory: str) -> Iterable[str]:
    for zone in zones.zones:
        yield f'zone:\n  name: "{zone.rstrip(".")}"\n  zonefile: "{directory}/{zone_file_name(zone)}"'


def _hosts(zones: Zones, _: str) -> Iterable[str]:
    yield from hosts(zones)


SERVERS: Mapping[str, Kind] = {
    "bind": Kind("named.conf.kcompile", _bind, "rndc reconfig", "rndc reload"),
    "nsd": Kind("nsd.conf.kcompile", _nsd, "nsd-control reconfig", "nsd-control reload"),
    "coredns": Kind("Corefile", corefile),
    "dnsmasq": Kind("hosts", _hosts, "systemctl kill --signal=HUP dnsmasq", has_zones=False),
}
"""dnsmasq's file is one for its option addn-hosts: it can hold addresses alone."""


class Feed:
    """Feeds a server of `kind` in `directory` with what `wanted` makes of a source.

    `command`: what to run instead of the kind's own after a change; None for that one, empty for nothing.
    """

    def __init__(
        self,
        kind: Kind,
        directory: Path,
        wanted: Wanted,
        warn: Callable[[str], None],
        command: str | None = None,
    ) -> None:
        self._kind, self._directory, self._wanted = kind, directory, wanted
        self._warn, self._command = warn, command
        self._zones = Zones(wanted.domain, wanted.ttl)
        self._marked = asyncio.Event()
        self._bodies: dict[str, list[str]] = {}  # zone -> its lines but the SOA
        self._serial = 0
        self._untold: list[str] = []

    async def run(self, source: Source, written: Callable[[int], None]) -> None:
        """Follow `source` until cancelled. `written` is told the number of records after each write.

        :raises KcompileError: where the source can't be read at all
        """
        collector = Collector(source.kinds, self._wanted, self._marked.set, self._warn)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(source.run(collector))
                group.create_task(self._write_all(collector, written))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _write_all(self, collector: Collector, written: Callable[[int], None]) -> None:
        while True:
            patience = _RETRY if self._untold else None
            try:
                async with asyncio.timeout(patience):
                    await self._marked.wait()
            except TimeoutError:
                pass
            self._marked.clear()
            changes = list(collector.changes())
            for change in changes:
                self._zones.change(*change)
            if changes:
                self._untold += await asyncio.to_thread(self.write, self._zones)
                written(len(self._zones))
            self._untold = [each for each in dict.fromkeys(self._untold) if not await self._tell(each)]
            await asyncio.sleep(_AT_MOST)

    def write(self, zones: Zones) -> list[str]:
        """Write what is new of `zones`; returns the commands that tell the server.

        :raises KernelError: where a file can't be written
        """
        changed = self._write_zones(zones) if self._kind.has_zones else []
        is_new = self._put(self._kind.included, self._kind.entry(zones, str(self._directory)))
        if self._command is not None:
            return [self._command] if self._command and (is_new or changed) else []
        commands = [self._kind.reload] if is_new and self._kind.reload else []
        if self._kind.zone_reload:
            commands += [f"{self._kind.zone_reload} {zone.rstrip('.')}" for zone in changed]
        return commands

    def _write_zones(self, zones: Zones) -> list[str]:
        """Write the files of the zones that have changed, with the next serial; returns those."""
        self._serial = zones.serial = max(int(time.time()), self._serial + 1)
        changed, files = [], zone_files(zones)
        for zone, lines in files.items():
            body = [line for line in lines if not line.startswith("@ IN SOA ")]
            if self._bodies.get(zone) != body:
                self._bodies[zone] = body
                self._put(zone_file_name(zone), lines)
                changed.append(zone)
        for gone in self._bodies.keys() - set(files):
            del self._bodies[gone]
            (self._directory / zone_file_name(gone)).unlink(missing_ok=True)
        return changed

    def _put(self, name: str, lines: Iterable[str]) -> bool:
        """Write a file, where it doesn't say so already; whether it didn't."""
        path, data = self._directory / name, "".join([f"{line}\n" for line in lines]).encode()
        if path.exists() and path.read_bytes() == data:
            return False
        write_whole(path, data, mode=0o644)
        return True

    async def _tell(self, command: str) -> bool:
        """Run `command`; whether that went well."""
        words: Sequence[str] = shlex.split(command)
        try:
            done = await asyncio.to_thread(spawn.run, words, capture_output=True, text=True)
        except (KcompileError, OSError) as error:
            self._warn(f"{command}: {error}")
            return False
        if done.returncode:
            self._warn(f"{command}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.returncode == 0
