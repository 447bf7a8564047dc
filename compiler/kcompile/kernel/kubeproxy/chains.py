"""kube-proxy's iptables chains: those of its modes iptables and ipvs, in one variant and IP family.

Kubelet's own chains (KUBE-FIREWALL, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT) aren't kube-proxy's and stay.
Pure: works on what iptables-save prints.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

from .frontends import ANY, Frontend

__all__ = ["PATTERN", "Chains"]

PATTERN = (
    "KUBE-(SERVICES|EXTERNAL-|NODE-?PORT|POSTROUTING|MARK-MASQ|FORWARD|PROXY-"
    "|SVC-|SVL-|SEP-|FW-|EXT-|XLB-|LOAD-|SOURCE-|IPVS-)"
)
"""The names of its chains, as an extended regular expression."""

_THEIRS = re.compile(PATTERN)
# those that kubelet never had
_SIGN = re.compile(r"^:KUBE-(?:SERVICES|PROXY-CANARY|NODEPORTS|NODE-PORT|SVC-|SEP-)", re.MULTILINE)
_TARGET = re.compile(r" -[jg] (\S+)")
_MATCH = re.compile(
    r"-A KUBE-(?P<chain>SERVICES|EXTERNAL-SERVICES|NODEPORTS)(?: -d (?P<address>\S+))? -p (?P<protocol>\w+) "
    r".*--dport (?P<port>\d+) .*-j (?P<target>\S+)"
)
_NO_FRONTEND = ("ACCEPT", "RETURN", "MARK", "KUBE-MARK-MASQ")
_ACCEPTS = re.compile(r"-A FORWARD (-m conntrack --ctstate \S*DNAT\S* -j ACCEPT|.*-[jg] KCOMPILE-FORWARD)")
_FORWARD = "KUBE-FORWARD"


class _Table(NamedTuple):
    """A table of iptables-save: `policies` of the built-in chains, the names of the others, and the rules."""

    name: str
    policies: dict[str, str]
    chains: list[str]
    rules: list[str]


class Chains(NamedTuple):
    """What iptables-save prints of variant `backend` (``legacy``, ``nft``) and `family` (4, 6)."""

    backend: str
    family: int
    text: str

    @property
    def found(self) -> bool:
        """Whether kube-proxy has chains there."""
        return _SIGN.search(self.text) is not None

    @property
    def names(self) -> set[str]:
        """The names of its chains, in all tables."""
        return {name for table in self._tables() for name in table.chains if _THEIRS.match(name)}

    def frontends(self) -> set[Frontend]:
        """The addresses and ports that they answer; of mode ipvs they answer none."""
        return set(self._frontends())

    def kept(self) -> set[str]:
        """Chains that must stay.

        Those that somebody else's chain leads to; and the one that accepts forwarded packets, where policy
        DROP would meet them else.
        """
        return {name for table in self._tables() for name in _kept(table)}

    def removal(self) -> str:
        """The script for ``iptables-restore --noflush`` that removes all but the `kept` ones, each table in
        one step; empty where nothing is to be removed.
        """
        return "".join(_removal(table) for table in self._tables())

    def _tables(self) -> Iterator[_Table]:
        table = _Table("", {}, [], [])
        for line in self.text.splitlines():
            if line.startswith("*"):
                table = _Table(line[1:], {}, [], [])
            elif line.startswith(":"):
                name, policy, *_ = line[1:].split()
                if policy == "-":
                    table.chains.append(name)
                else:
                    table.policies[name] = policy
            elif line.startswith("-A "):
                table.rules.append(line)
            elif line == "COMMIT":
                yield table

    def _frontends(self) -> Iterator[Frontend]:
        for table in self._tables():
            for match in filter(None, map(_MATCH.match, table.rules)):
                if match["target"] in _NO_FRONTEND or _is_health_check(table.name, match):
                    continue
                address = ANY
                if match["address"] and match["chain"] != "NODEPORTS":
                    address = str(ipaddress.ip_address(match["address"].partition("/")[0]))
                yield Frontend(self.family, match["protocol"], address, int(match["port"]))


def _is_health_check(table: str, match: re.Match[str]) -> bool:
    """Chain KUBE-NODEPORTS of table filter lets packets to health check ports in."""
    return table == "filter" and match["chain"] == "NODEPORTS"


def _chain(rule: str) -> str:
    return rule.split(" ", 2)[1]


def _targets(rule: str) -> list[str]:
    return _TARGET.findall(rule)


def _kept(table: _Table) -> set[str]:
    theirs = {name for name in table.chains if _THEIRS.match(name)}
    others = set(table.chains) - theirs
    kept = {target for rule in table.rules if _chain(rule) in others for target in _targets(rule)} & theirs
    drops = table.name == "filter" and table.policies.get("FORWARD") == "DROP"
    if drops and _FORWARD in theirs and not any(map(_ACCEPTS.match, table.rules)):
        kept.add(_FORWARD)
    more = kept
    while more:
        more = {t for rule in table.rules if _chain(rule) in more for t in _targets(rule)} & theirs - kept
        kept |= more
    return kept


def _removal(table: _Table) -> str:
    kept = _kept(table)
    gone = [name for name in table.chains if _THEIRS.match(name) and name not in kept]
    if not gone:
        return ""
    jumps = [
        rule for rule in table.rules if _chain(rule) in table.policies and set(_targets(rule)) & set(gone)
    ]
    lines = [
        f"*{table.name}",
        *(f":{name} - [0:0]" for name in gone),  # which empties it
        *(f"-D {rule.removeprefix('-A ')}" for rule in jumps),
        *(f"-X {name}" for name in gone),
        "COMMIT",
    ]
    return "".join(f"{line}\n" for line in lines)
