"""The content of a change without the driver: what it wrote is recorded, and can be written again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from kcompile import spawn
from kcompile.kernel.bpf import library
from kcompile.kernel.drivers import Driver
from kcompile.kernel.netlink import Netlink
from kcompile.program import Change

__all__ = ["MODES", "Calls", "recorded"]


class Calls(list[Callable[[], Any]]):
    """What writes the same content once more."""

    def __call__(self) -> None:
        for call in self:
            call()


def recorded(driver: Driver, folder: Path, changes: Sequence[Change]) -> AbstractContextManager[Calls]:
    """The calls that repeat `changes`, which the body makes by the held `driver`. `folder`: for files."""
    if driver.name in _RECORDERS:
        return _RECORDERS[driver.name](driver, folder)
    return contextlib.nullcontext(Calls([_tool(driver, changes, folder)]))


def _tool(driver: Driver, changes: Sequence[Change], folder: Path) -> Callable[[], None]:
    """What makes `changes` with the mode's own tool."""
    commands = []
    for family, text in driver.target.scripts(changes).items():
        path = folder / f"{len(list(folder.iterdir()))}.{family}"
        path.write_text(text)
        restore = {"ip4": "iptables", "ip6": "ip6tables"}.get(family, "")
        backend = driver.name.partition("-")[2]
        words = [f"{restore}-{backend}-restore", "--noflush"] if restore else ["nft", "-f"]
        commands.append([*spawn.located(words), str(path)])

    def run() -> None:
        for command in commands:
            spawn.run(command).check_returncode()

    return run


@contextlib.contextmanager
def _messages(_: Driver, __: Path) -> Iterator[Calls]:
    """What sends the same netlink messages again."""
    calls = Calls()
    send = Netlink.send

    def recording(self: Netlink, requests: Any, failed: Any) -> None:
        calls.append(lambda: send(self, requests, lambda *_: None))
        send(self, requests, failed)

    with mock.patch.object(Netlink, "send", recording):
        yield calls


@contextlib.contextmanager
def _entries(_: Driver, __: Path) -> Iterator[Calls]:
    """What writes the same map entries again, to maps like those."""
    calls = Calls()
    spare: dict[str, Any] = {}

    def like(fd: Any) -> Any:
        if fd.name not in spare:
            made = library.map_info(fd)
            form = made.key_size, made.value_size, made.max_entries, made.flags
            spare[fd.name] = library.create_map(made.type, *form, fd.name)
        return spare[fd.name]

    def recording(real: Callable[..., Any], *, counted: int) -> Callable[..., Any]:
        def call(fd: Any, *arguments: Any) -> Any:
            if arguments[counted]:
                calls.append(lambda: real(like(fd), *arguments))
            return real(fd, *arguments)

        return call

    with (
        mock.patch.object(library, "update_batch", recording(library.update_batch, counted=2)),
        mock.patch.object(library, "delete_batch", recording(library.delete_batch, counted=1)),
    ):
        yield calls


_RECORDERS: Mapping[str, Callable[[Driver, Path], AbstractContextManager[Calls]]] = {
    "ipvs": _messages,
    "xdp": _entries,
}
MODES = ("nftables", "iptables-legacy", "iptables-nft", *_RECORDERS)
