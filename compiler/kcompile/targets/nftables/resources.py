"""nft's nouns as small immutable records that know how they are written (nft(8); the names are nft's own).

A Program of this target maps

    TableKey(family)              -> Table
    MapKey(family, name)          -> Map        (a set is a map without data)
    ChainKey(family, name)        -> Chain
    ElementKey(family, map, key)  -> Element    (data, comment), both str; key and data in nft's spelling
    ObjectKey(family, noun, name) -> ""         counter, quota, flowtable, ...: never ours, always removed

with `family` ``ip`` or ``ip6``.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

import msgspec

from ...program import Key

__all__ = [
    "TABLE",
    "Chain",
    "ChainKey",
    "Element",
    "ElementKey",
    "Map",
    "MapKey",
    "ObjectKey",
    "Rule",
    "Table",
    "TableKey",
    "comment_text",
    "family_of",
]

TABLE = "kcompile"
Element = tuple[str, str]

# The kernel keeps 128 bytes of a comment, the terminating zero included (NFTNL_UDATA_COMMENT_MAXLEN).
_COMMENT_MAX = 127


def comment_text(text: str) -> str:
    """`text` as the kernel can keep it: cut, with a checksum so that two long names stay apart."""
    if len(text) <= _COMMENT_MAX:
        return text
    return f"{text[: _COMMENT_MAX - 9]}~{zlib.crc32(text.encode()):08x}"


class TableKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "table"
    family: str


class MapKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "map"
    family: str
    name: str


class ChainKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "chain"
    family: str
    name: str


class ElementKey(Key, frozen=True, gc=False):
    """An element of a map or set: `map` is its name, `key` the element's own key as nft spells it."""

    kind: ClassVar[str] = "element"
    family: str
    map: str
    key: str


class ObjectKey(Key, frozen=True, gc=False):
    """A named object that somebody else put into our table; `noun` is nft's word for it: counter, quota,
    flowtable, ...
    """

    kind: ClassVar[str] = "object"
    family: str
    noun: str
    name: str


def family_of(key: Key) -> str:
    """The address family of any key of this target: ``ip`` or ``ip6``."""
    assert isinstance(key, TableKey | MapKey | ChainKey | ElementKey | ObjectKey)
    return key.family


class Table(msgspec.Struct, frozen=True):
    """The table itself. `flags` are its flags in nft's words (dormant, owner, persist); ours has none."""

    flags: tuple[str, ...] = ()


class Map(msgspec.Struct, frozen=True):
    """A named map, or a set where `data` is empty. `key` and `data` are lists of nft datatype names.

    With a `timeout` (seconds) rules fill it, and its elements are the kernel's business. `unlike`: what a
    listing says of it that we never write (other flags, a size).
    """

    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    timeout: int = 0
    unlike: tuple[str, ...] = ()

    def write(self, family: str, name: str) -> str:
        """The ``add map`` (or ``add set``) command."""
        if "integer" in self.key:  # only typeof can say how wide an integer is
            # Each protocol has its own maps, named after it: nft 1.0.6 can't read back data of "th dport".
            expressions = {
                "ipv4_addr": "ip daddr",
                "ipv6_addr": "ip6 daddr",
                "inet_service": f"{name.partition('-')[0]} dport",
                "integer": "numgen random mod 2",
            }
            key = " . ".join(expressions[kind] for kind in self.key)
            data = " . ".join(expressions[kind] for kind in self.data)
            body = f"typeof {key} : {data}"
        else:
            body = "type " + " . ".join(self.key)
            body += " : " + " . ".join(self.data) if self.data else ""
        if self.timeout:
            body += f"; flags dynamic,timeout; timeout {self.timeout}s"
        return f"add {'map' if self.data else 'set'} {family} {TABLE} {name} {{ {body}; }}"


class Rule(msgspec.Struct, frozen=True, eq=False):
    """One rule: `text` as we write it and `comment`, which ends in a checksum of the text.

    Each version of nft lists the same rule in other words, so rules are compared by comment; read back,
    `text` is empty.
    """

    text: str
    comment: str

    @classmethod
    def make(cls, text: str, why: str) -> Rule:
        """A rule whose comment says `why` (for people) and carries the checksum (for us)."""
        return cls(text, f"{why} #{zlib.crc32(text.encode()):08x}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.comment == other.comment

    def __hash__(self) -> int:
        return hash(self.comment)

    def write(self) -> str:
        return f'{self.text} comment "{self.comment}"'


class Chain(msgspec.Struct, frozen=True):
    """A chain with its rules; `hook` is ``TYPE HOOK PRIORITY`` for a base chain, empty for the others, which
    have no `policy`.
    """

    rules: tuple[Rule, ...]
    hook: str = ""
    policy: str = "accept"

    def declare(self, family: str, name: str) -> str:
        """The ``add chain`` command, without the rules."""
        if not self.hook:
            return f"add chain {family} {TABLE} {name}"
        kind, hook, priority = self.hook.split()
        body = f"type {kind} hook {hook} priority {priority}; policy {self.policy};"
        return f"add chain {family} {TABLE} {name} {{ {body} }}"
