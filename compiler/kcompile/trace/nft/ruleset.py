"""The base chains of a ruleset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...program import Key
from ...targets.nftables.resources import TABLE, Chain, ChainKey, ElementKey, MapKey
from ..chains import BaseChain
from ..outcome import Do, Rule
from . import text
from .statements import NftRule
from .values import Contents, Unknown

__all__ = ["from_json", "from_program"]

_VERSIONS = {"ip": frozenset((4,)), "ip6": frozenset((6,)), "inet": frozenset((4, 6))}
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_Table = tuple[str, str]  # family and name


class _Sets:
    """The sets and maps of one listed table, each indexed when a rule first asks for it."""

    def __init__(self) -> None:
        self.elements: dict[str, list[Any]] = {}
        self.maps: set[str] = set()
        self._indexed: dict[str, Contents] = {}

    def __call__(self, name: str) -> Contents:
        """The named set or map. Raises Unknown."""
        if name not in self._indexed:
            if name not in self.elements:
                raise Unknown(f"the set {name}")
            self._indexed[name] = Contents(self.elements[name], is_map=name in self.maps)
        return self._indexed[name]


class _Written(Contents):
    """The elements of a set or map of a lowered Program, found by their spelling: of tens of thousands, only
    those that a packet meets are parsed.
    """

    def __init__(self) -> None:
        super().__init__(())
        self.data: dict[str, str] = {}

    def get(self, value: Any) -> Any:
        """See `Contents`."""
        spelt = " . ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        data = self.data.get(spelt)
        if data is None:
            return None
        return text.expression(data) if data else True


class _WrittenSets:
    """The sets and maps of a lowered Program in one family. None of them has ranges or prefixes."""

    def __init__(self) -> None:
        self.sets: dict[str, _Written] = {}

    def __call__(self, name: str) -> Contents:
        """The named set or map. Raises Unknown."""
        if name not in self.sets:
            raise Unknown(f"the set {name}")
        return self.sets[name]


def from_program(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The base chains of a lowered Program (targets/nftables)."""
    families = {key.family for key in program if isinstance(key, ChainKey)}
    return [chain for family in sorted(families) for chain in _family(program, family)]


def _family(program: Mapping[Key, Any], family: str) -> list[BaseChain]:
    sets = _WrittenSets()
    chains: dict[str, list[Rule]] = {}
    base: list[tuple[str, Chain]] = []
    for key, value in program.items():
        match key:
            case MapKey(family=own, name=name) if own == family:
                sets.sets.setdefault(name, _Written())
            case ElementKey(family=own, map=name, key=element) if own == family:
                sets.sets.setdefault(name, _Written()).data[element] = value[0]
            case ChainKey(family=own, name=name) if own == family:
                chains[name] = [_program_rule(rule.text, sets) for rule in value.rules]
                if value.hook:
                    base.append((name, value))
    return [_base_chain(family, name, chain, chains) for name, chain in base]


def _program_rule(written: str, sets: _WrittenSets) -> Rule:
    try:
        return NftRule(text.statements(written), written, sets)
    except Unknown as unknown:
        return _unreadable(written, unknown)


def _unreadable(written: str, unknown: Unknown) -> Rule:
    """A rule of which not even the words are known: whoever reaches it ends there."""
    return NftRule([{f"{unknown}": None}], written, _Sets())


def _base_chain(family: str, name: str, chain: Chain, chains: Mapping[str, list[Rule]]) -> BaseChain:
    kind, hook, priority = chain.hook.split()
    return BaseChain(
        name=f"{family} {TABLE} {name}",
        hook=hook,
        priority=int(priority),
        rules=chains[name],
        chains=chains,
        nat=kind == "nat",
        policy=Do(chain.policy),
        versions=_VERSIONS[family],
    )


def from_json(listing: bytes | str | Mapping[str, Any]) -> list[BaseChain]:
    """The base chains of all tables of ``nft -j list ruleset``; dormant tables have none.

    Tables of the families bridge, arp and netdev aren't on the way that is walked here.
    """
    document = listing if isinstance(listing, Mapping) else msgspec.json.decode(listing)
    items = [next(iter(item.items())) for item in document["nftables"]]
    tables: dict[_Table, _Sets] = {}
    chains: dict[_Table, dict[str, list[Rule]]] = {}
    for kind, body in items:
        if kind == "table" and body["family"] in _VERSIONS and "dormant" not in body.get("flags", ()):
            tables[body["family"], body["name"]] = _Sets()
            chains[body["family"], body["name"]] = {}
    bodies = [(kind, body, (body.get("family"), body.get("table"))) for kind, body in items]
    for kind, body, table in bodies:
        if table in tables:
            _file(kind, body, tables[table], chains[table])
    return [
        _listed_base(body, chains[table])
        for kind, body, table in bodies
        if kind == "chain" and "hook" in body and table in tables
    ]


def _file(kind: str, body: Mapping[str, Any], sets: _Sets, chains: dict[str, list[Rule]]) -> None:
    match kind:
        case "set" | "map":
            sets.elements[body["name"]] = list(body.get("elem", ()))
            if kind == "map":
                sets.maps.add(body["name"])
        case "chain":
            chains.setdefault(body["name"], [])
        case "rule":
            statements = body.get("expr", [])
            chains.setdefault(body["chain"], []).append(NftRule(statements, _shown(body), sets))


def _shown(body: Mapping[str, Any]) -> str:
    """What is shown of a rule that was listed as data: its comment, else the data."""
    comment = body.get("comment")
    if comment:
        return str(comment)
    return msgspec.json.encode(body.get("expr", [])).decode()


def _listed_base(body: Mapping[str, Any], chains: Mapping[str, list[Rule]]) -> BaseChain:
    priority = body.get("prio", 0)
    return BaseChain(
        name=f"{body['family']} {body['table']} {body['name']}",
        hook=body["hook"],
        priority=_PRIORITIES[priority] if isinstance(priority, str) else priority,
        rules=chains[body["name"]],
        chains=chains,
        nat=body.get("type") == "nat",
        policy=Do(body.get("policy", "accept")),
        versions=_VERSIONS[body["family"]],
    )
