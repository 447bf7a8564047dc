"""Which folders decide what a path means, and whether something in them has changed.

A path is decided by its own entry and by that of every link on the way: ``web.yaml -> ..data/web.yaml`` and
``..data -> ..2026_11_30`` (a mounted ConfigMap), or a link to the folder of a release.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from ...errors import KernelError
from .inotify import CLOSED, GONE, IGNORED, IS_FOLDER, MODIFIED, OVERFLOW, SELF, Event, Inotify

__all__ = ["Interest", "Watches", "entries"]

_MOST_LINKS = 40  # as the kernel's own limit: MAXSYMLINKS


class Interest(msgspec.Struct):
    """What counts in one folder.

    `names`: these entries; `suffixes`: entries with these endings; `folders`: every folder in it.
    """

    names: set[str] = msgspec.field(default_factory=set)
    suffixes: tuple[str, ...] = ()
    folders: bool = False

    def wants(self, event: Event) -> bool:
        """Whether `event`, of this folder, may change what is read."""
        if not event.name or event.name in self.names:
            return True
        if event.mask & IS_FOLDER:
            return self.folders
        return bool(self.suffixes) and event.name.endswith(self.suffixes)


def entries(path: Path, links: int = _MOST_LINKS) -> Iterator[tuple[str, str]]:
    """The directory entries that decide what `path` is, each as its folder's real path and a name.

    Where a folder is missing, it is the entry of that folder.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 -- resolve() would follow the links
    while not path.parent.is_dir():
        path = path.parent
    folder = path.parent.resolve()
    yield str(folder), path.name
    if not links:
        return
    for link in (path, *path.parents):
        if link.is_symlink():
            yield from entries(link.parent / link.readlink(), links - 1)
            if link != path:
                yield from entries(link, links - 1)
            break


class Watches:
    """An inotify watch a folder. Use it in one thread. Raises KernelError where there is no inotify."""

    def __init__(self) -> None:
        try:
            self.inotify = Inotify()
        except OSError as error:
            fix = " (sysctl fs.inotify.max_user_instances)" if error.errno == errno.EMFILE else ""
            raise KernelError(f"files can't be watched: {error.strerror}{fix}") from None
        self._watches: dict[str, int] = {}
        self._folders: dict[int, str] = {}
        self._interests: Mapping[str, Interest] = {}
        self._written: set[str] = set()

    def follow(self, interests: Mapping[str, Interest]) -> bool:
        """Watch these folders and no others; whether one of them is new.

        Raises KernelError where the kernel has no more watches.
        """
        self._interests = interests
        for folder in [each for each in self._watches if each not in interests]:
            self.inotify.remove(self._watches[folder])
            self._forget(self._watches[folder])
        new = [folder for folder in interests if folder not in self._watches]
        for folder in new:
            try:
                watch = self.inotify.add(folder)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    continue  # it went meanwhile: an event of the folder above says so
                fix = " (sysctl fs.inotify.max_user_watches)" if error.errno == errno.ENOSPC else ""
                raise KernelError(f"{folder}: can't be watched: {error.strerror}{fix}") from None
            self._watches[folder], self._folders[watch] = watch, folder
        return bool(new)

    def changed(self, quiet: float, longest: float) -> bool:
        """Read events until none has come for `quiet` seconds, or `longest` have passed.

        :return: whether one of them may change what is read; a file that is still being written does not
        """
        end = time.monotonic() + longest
        found = self.note(self.inotify.read())
        while time.monotonic() < end and (events := self.inotify.read(quiet)):
            found |= self.note(events)
        return found

    def note(self, events: Iterable[Event]) -> bool:
        """Take in `events`; whether one of them may change what is read."""
        found = False
        for event in events:
            folder = self._folders.get(event.watch)
            if event.mask & OVERFLOW:
                self._written.clear()
                found = True
            if folder is None:
                continue
            if event.mask & (SELF | IGNORED):  # IGNORED alone: its file system is unmounted
                self.inotify.remove(event.watch)
                self._forget(event.watch)
                found = True
                continue
            path = f"{folder}/{event.name}"
            if event.mask & MODIFIED:
                self._written.add(path)
                continue
            if event.mask & (CLOSED | GONE):
                self._written.discard(path)
            found |= self._interests[folder].wants(event) if folder in self._interests else False
        return found

    def being_written(self, path: str) -> bool:
        """Whether somebody has written to the file and not yet closed it."""
        return bool(self._written) and str(Path(path).resolve()) in self._written

    def close(self) -> None:
        self.inotify.close()

    def _forget(self, watch: int) -> None:
        folder = self._folders.pop(watch, "")
        self._watches.pop(folder, None)
