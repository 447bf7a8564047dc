"""The output of ``nft -j list table`` for our table -> Program (libnftables-json(5)).

Others may have put anything into our table. So every kind of object is read, to be removed by the next apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...program import Key
from .resources import Chain, ChainKey, ElementKey, Map, MapKey, ObjectKey, Rule, Table, TableKey

__all__ = ["parse"]

_TIMEOUT_FLAGS = ("dynamic", "timeout")  # of the sets that rules fill


def parse(text: bytes | str) -> dict[Key, Any]:
    """The Program that one listing shows, or several listings one after the other (one a family).

    Elements of dynamic sets (the clients of session affinity) belong to the kernel, not to the Program. A
    table's flags aren't read here: nft 1.0.6 prints the family in their place.
    """
    program: dict[Key, Any] = {}
    rules: dict[tuple[str, str], list[Rule]] = {}
    chains: dict[tuple[str, str], Chain] = {}
    for item in msgspec.json.decode(text)["nftables"]:
        ((kind, body),) = item.items()
        if kind == "metainfo":
            continue
        family = body["family"]
        if kind == "table":
            program[TableKey(family)] = Table()
        elif kind in ("map", "set"):
            _map(program, family, body)
        elif kind == "chain":
            chains[(family, body["name"])] = _chain(body)
        elif kind == "rule":
            rules.setdefault((family, body["chain"]), []).append(Rule("", body.get("comment", "")))
        else:
            program[ObjectKey(family, kind, body["name"])] = ""
    for (family, name), chain in chains.items():
        program[ChainKey(family, name)] = Chain(
            tuple(rules.get((family, name), ())), chain.hook, chain.policy
        )
    return program


def _chain(body: dict[str, Any]) -> Chain:
    if "hook" not in body:
        return Chain(())
    return Chain((), f"{body['type']} {body['hook']} {body['prio']}", body.get("policy", "accept"))


def _map(program: dict[Key, Any], family: str, body: dict[str, Any]) -> None:
    data = _data(body.get("map", ""))
    timeout = body.get("timeout", 0)
    value = Map(
        key=_types(body["type"]),
        data=tuple(data.split(" . ")) if data else (),
        timeout=timeout,
        unlike=_unlike(body, _TIMEOUT_FLAGS if timeout else ()),
    )
    name = body["name"]
    program[MapKey(family, name)] = value
    if value.timeout:
        return
    for element in body.get("elem", ()):
        if data:
            left, right = element
            text, comment = _element(left)
            program[ElementKey(family, name, text)] = (_data(right), comment)
        else:
            text, comment = _element(element)
            program[ElementKey(family, name, text)] = ("", comment)


def _types(key: Any) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(_data(part) for part in key)


def _unlike(body: dict[str, Any], flags: Sequence[str]) -> tuple[str, ...]:
    """Flags other than `flags`, and a size (which nft sets itself for sets that rules fill)."""
    found = body.get("flags", [])
    unlike = [flag for flag in ([found] if isinstance(found, str) else found) if flag not in flags]
    if "size" in body and not flags:
        unlike.append(f"size {body['size']}")
    return tuple(unlike)


def _element(item: Any) -> tuple[str, str]:
    """The key of an element and its comment."""
    comment = ""
    if isinstance(item, dict) and "elem" in item:
        comment = item["elem"].get("comment", "")
        item = item["elem"]["val"]
    return _data(item), comment


def _data(item: Any) -> str:
    """`item` in nft's spelling; as JSON where only a map of others can have it and it has no short form."""
    if not isinstance(item, dict):
        return str(item)
    ((kind, body),) = item.items()
    if kind == "concat":
        return " . ".join([_data(part) for part in body])
    if kind == "prefix":
        return f"{_data(body['addr'])}/{body['len']}"
    if kind == "range":
        return "-".join([_data(part) for part in body])
    if body is None:  # accept, drop, continue, return
        return str(kind)
    if isinstance(body, dict) and "target" in body:
        return f"{kind} {body['target']}"
    return msgspec.json.encode(item).decode()
