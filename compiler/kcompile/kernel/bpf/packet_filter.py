"""The map filter (bpf/filter.h): by it the programs tell that no Service has to do with a packet.

Its cells are computed here as there.

A program that is about to be replaced may be of a build that sets no cells: so `suspend` before programs are
attached, and `complete` when all of them are of this build.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...program import Change
from ...targets.xdp import layout
from ...targets.xdp.resources import AddressKey, FrontendKey
from . import entries, library
from .syscall import Fd

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_flow", "add_frontends", "complete", "resume", "suspend"]

SERVICE, BACKEND = 0x9E3779B9, 0x7F4A7C15  # SIDE_SERVICE, SIDE_BACKEND
_COMPLETE, _SETTLED, _CELLS = 0, 1, 8  # offsets in struct filter
_HASH_FACTOR, _LINE = 31, 64
_REPLY, _DIRECT = layout.CONSTANTS["FLOW_REPLY"], layout.CONSTANTS["FLOW_DIRECT"]
_MANY = layout.FILTER_CELLS // 4
_A_RUN = 0.002  # seconds: more than a run of a program takes


def _memory(maps: Mapping[str, Fd]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.frombuffer(library.map_bytes(maps["filter"]), dtype=np.uint8)


def cells(addresses: np.ndarray[Any, Any], ports: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """filter_cell4() or filter_cell6().

    :param addresses: a row each, of 1 or 4 words, as they are in the packet
    :param ports: as they are in the packet
    """
    import numpy as np

    words = addresses.astype(np.uint32)
    factor = np.uint32(_HASH_FACTOR)
    hashed = words[:, 0]
    if words.shape[1] == 4:
        hashed = (words[:, 0] * factor + words[:, 1]) * factor + (words[:, 2] * factor ^ words[:, 3])
    numbers = ports.astype(np.uint32)
    hashed = np.where(hashed != 0, hashed, numbers)
    for shift, multiplier in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):  # murmur3_fmix32()
        hashed = (hashed ^ hashed >> np.uint32(shift)) * np.uint32(multiplier)
    place = (numbers + np.uint32(1)) * np.uint32(side) >> np.uint32(26) ^ hashed
    lines = np.uint64(layout.FILTER_CELLS // _LINE)
    first = (hashed.astype(np.uint64) * lines >> np.uint64(32)) * np.uint64(_LINE)
    return first + place % np.uint32(_LINE)


def _set(memory: np.ndarray[Any, Any], version: int, addresses: bytes, ports: bytes, side: int) -> None:
    """Set the cells of packed addresses and ports."""
    import numpy as np

    rows = np.frombuffer(addresses, dtype=np.uint32).reshape(-1, 1 if version == 4 else 4)
    memory[_CELLS + cells(rows, np.frombuffer(ports, dtype=np.uint16), side)] = 1


def add_frontends(maps: Mapping[str, Fd], changes: Iterable[Change]) -> None:
    """Set the cells of the frontends that `changes` are about to write."""
    if "filter" not in maps:
        return  # of an older build: the next apply makes it, and completes it
    found: dict[int, tuple[list[bytes], list[bytes]]] = {4: ([], []), 6: ([], [])}
    for change in changes:
        key = change.key
        if change.new is not None and isinstance(key, FrontendKey | AddressKey):
            port = key.port if isinstance(key, FrontendKey) else 0
            found[key.version][0].append(entries.packed(key.version, key.address))
            found[key.version][1].append(port.to_bytes(2))
    memory = _memory(maps)
    for version, (addresses, ports) in found.items():
        if ports:
            _set(memory, version, b"".join(addresses), b"".join(ports), SERVICE)


def add_flow(
    maps: Mapping[str, Fd], version: int, service: tuple[bytes, bytes], backend: tuple[bytes, bytes]
) -> None:
    """Set the cells of a connection: where the client sends to, and what answers."""
    memory = _memory(maps)
    _set(memory, version, *service, SERVICE)
    _set(memory, version, *backend, BACKEND)


def suspend(maps: Mapping[str, Fd]) -> None:
    """Have the programs look every packet up."""
    _memory(maps)[_COMPLETE] = 0


def complete(maps: Mapping[str, Fd]) -> None:
    """Set the cells of every frontend and flow, and have the programs filter by them.

    If many cells are set, for what is long gone, they are cleared first.
    """
    import numpy as np

    memory = _memory(maps)
    if int(np.count_nonzero(memory[_CELLS:])) > _MANY:
        memory[_COMPLETE] = 0
        time.sleep(_A_RUN)
        memory[_CELLS:] = 0
    for version, ends, side in _ends(maps):
        keys = np.ascontiguousarray(ends["address"]).tobytes()
        _set(memory, version, keys, np.ascontiguousarray(ends["port"]).tobytes(), side)
    memory[_COMPLETE] = 1


def resume(maps: Mapping[str, Fd], settled: bool) -> None:
    """After an apply: `complete`, unless the programs filter and few cells are set.

    `settled`: no connection through a Service is older than the programs and without a flow.
    """
    import numpy as np

    memory = _memory(maps)
    if not memory[_COMPLETE] or int(np.count_nonzero(memory[_CELLS:])) > _MANY:
        complete(maps)
    if settled:
        memory[_SETTLED] = 1


def _ends(maps: Mapping[str, Fd]) -> Iterator[tuple[int, np.ndarray[Any, Any], int]]:
    """Version, addresses with ports, and their side: of all frontends and flows, in pieces."""
    import numpy as np

    for version, width in ((4, 4), (6, 16)):
        end = [("address", f"V{width}"), ("port", "V2")]
        frontend = np.dtype([*end, ("rest", "V2")])
        for keys, _, _ in library.lookup_batch(maps[f"frontends{version}"]):
            yield version, np.frombuffer(keys, dtype=frontend), SERVICE
        forms = (layout.FLOW_KEY4, layout.FLOW4) if version == 4 else (layout.FLOW_KEY6, layout.FLOW6)
        source, destination = _key_type(version, 0), _key_type(version, 1)
        flags = np.dtype(
            {"names": ["flags"], "formats": ["u2"], "offsets": [2 * width + 12], "itemsize": forms[1].size}
        )
        for name in layout.flow_maps(version):
            for keys, values, _ in library.lookup_batch(maps[name]):
                kind = np.frombuffer(values, dtype=flags)["flags"]
                answers = (kind & _REPLY) != 0
                yield version, np.frombuffer(keys, dtype=destination)[~answers], SERVICE
                yield version, np.frombuffer(keys, dtype=source)[answers | ((kind & _DIRECT) != 0)], BACKEND


def _key_type(version: int, end: int) -> np.dtype[Any]:
    """One end of a flow's key: 0, the source; 1, the destination."""
    import numpy as np

    width = 4 if version == 4 else 16
    form = layout.FLOW_KEY4 if version == 4 else layout.FLOW_KEY6
    return np.dtype(
        {
            "names": ["address", "port"],
            "formats": [f"V{width}", "V2"],
            "offsets": [end * width, 2 * width + 2 * end],
            "itemsize": form.size,
        }
    )
