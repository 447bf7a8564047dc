"""All that kcompile uses of bpf(2), under one name: maps, pins, programs, links."""

from __future__ import annotations

from .links import (
    LinkInfo,
    ProgramInfo,
    link_create,
    link_detach,
    link_info,
    link_update,
    prog_load,
    program_by_id,
    program_info,
    query,
)
from .maps import (
    ANY,
    EXIST,
    NOEXIST,
    MapInfo,
    create_map,
    delete,
    delete_batch,
    lookup,
    lookup_batch,
    map_bytes,
    map_info,
    possible_cpus,
    update,
    update_batch,
)
from .syscall import Fd, obj_get, obj_pin

__all__ = [
    "ANY",
    "EXIST",
    "NOEXIST",
    "Fd",
    "LinkInfo",
    "MapInfo",
    "ProgramInfo",
    "create_map",
    "delete",
    "delete_batch",
    "link_create",
    "link_detach",
    "link_info",
    "link_update",
    "lookup",
    "lookup_batch",
    "map_bytes",
    "map_info",
    "obj_get",
    "obj_pin",
    "possible_cpus",
    "prog_load",
    "program_by_id",
    "program_info",
    "query",
    "update",
    "update_batch",
]
