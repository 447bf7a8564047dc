"""What ``nft -j list table`` says -> Program (libnftables-json(5)). Only our own table is ever given to it."""

from __future__ import annotations

from typing import Any

import msgspec

from ...program import Key
from .resources import Chain, ChainKey, ElementKey, Map, MapKey, Rule, Table, TableKey

__all__ = ["parse"]


def parse(text: bytes | str) -> dict[Key, Any]:
    """The Program that one listing shows, or several listings one after the other (one a family).

    Elements of dynamic sets (the clients of session affinity) belong to the kernel, not to the Program.
    """
    program: dict[Key, Any] = {}
    rules: dict[tuple[str, str], list[Rule]] = {}
    chains: dict[tuple[str, str], str] = {}
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
            hook = f"{body['type']} {body['hook']} {body['prio']}" if "hook" in body else ""
            chains[(family, body["name"])] = hook
        elif kind == "rule":
            rules.setdefault((family, body["chain"]), []).append(Rule("", body.get("comment", "")))
    for (family, name), hook in chains.items():
        program[ChainKey(family, name)] = Chain(tuple(rules.get((family, name), ())), hook)
    return program


def _map(program: dict[Key, Any], family: str, body: dict[str, Any]) -> None:
    key, data = body["type"], body.get("map", "")
    value = Map(
        key=(key,) if isinstance(key, str) else tuple(key),
        data=tuple(data.split(" . ")) if data else (),
        timeout=body.get("timeout", 0),
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


def _element(item: Any) -> tuple[str, str]:
    """The key of an element and its comment."""
    comment = ""
    if isinstance(item, dict) and "elem" in item:
        comment = item["elem"].get("comment", "")
        item = item["elem"]["val"]
    return _data(item), comment


def _data(item: Any) -> str:
    if isinstance(item, dict):
        if "concat" in item:
            return " . ".join([str(part) for part in item["concat"]])
        if "prefix" in item:
            return f"{item['prefix']['addr']}/{item['prefix']['len']}"
        ((verdict, target),) = item.items()
        return f"{verdict} {target['target']}" if target else str(verdict)
    return str(item)
