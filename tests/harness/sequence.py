"""A sequence: a YAML file of applies with open connections between them, and what must become of those.

    name, summary     what is tested
    node, config      as in a flow case (flowcase.py)
    objects           Kubernetes objects, each under a name of the file's own
    modes             the modes that it is run in; without it every mode
    silent            addresses outside where nobody answers, not even with a reset
    host              what the node has of its own: `sysctls` (path below net/: value), `chains` of nftables
                      (in a table inet host), `uplink: bridge` (eth0 is a port of the bridge uplink, which has
                      the addresses), `mtus` (of pods' links)
    steps             one after the other; each has some of these, which are done in this order

      why             what the step is about
      apply           the names of the objects that are applied, all of them each time
      mode            the mode of that apply, and of the later ones; at first the test's own
      expect          what becomes of flows that are open:
                      NAME: lives | moves to BACKEND | ends | waits | gets through to BACKEND
      open            flows that begin now: NAME: {src, dst, dport, proto (TCP), sport} and
        answer        BACKEND, or a list: who must answer; `as NAME`: who answers on that flow;
                      `nobody`: no connection comes about; `later`: it isn't waited for;
                      `too big for MTU`: a router says so
        size, back    bytes of each datagram and of its answer
        df            whether datagrams may be cut: `true` forbids it

A connection `lives` when the server that it began with answers on it again, and `ends` when it is reset or
closed; a UDP flow ends when nobody answers it any more. What `waits` has no answer yet. BACKEND is ip:port.
What must become of a flow may be a mapping from a mode's name (`iptables` for both of its flavours, `xdp` for
all of its) to that, with `else` for the others. A key that isn't listed is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .conversations import PLAIN, TOO_BIG, Datagrams
from .flowcase import CaseError, FlowCase, Node
from .packets import canonical, join, split

__all__ = ["Fate", "Host", "Opening", "SequenceCase", "Step", "load"]

_INFORMATION = {"description", "note", "refs", "summary", "why"}
_NOBODY, _LATER, _LIKE = "nobody", "later", "as "


@dataclass(frozen=True)
class Fate:
    """What must become of an open flow: `verb` is ``lives``, ``moves``, ``ends``, ``waits`` or ``gets
    through``.
    """

    verb: str
    backend: str = ""

    def __str__(self) -> str:
        return f"{self.verb} to {self.backend}" if self.backend else self.verb


@dataclass(frozen=True)
class Opening:
    """A flow that begins. `answer`: the backends one of which must answer (empty: any), or `like` whom."""

    name: str
    src: str
    dst: str
    dport: int
    proto: str = "TCP"
    sport: int = 0
    answer: frozenset[str] = frozenset()
    like: str = ""
    nobody: bool = False
    waiting: bool = False
    datagrams: Datagrams = PLAIN


@dataclass(frozen=True)
class Host:
    """What the node has of its own before the first step."""

    sysctls: Mapping[str, int] = field(default_factory=dict)
    chains: tuple[str, ...] = ()
    uplink: str = ""
    mtus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step. `objects` None: nothing is applied."""

    why: str = ""
    objects: tuple[Mapping[str, Any], ...] | None = None
    mode: str = ""
    fates: Mapping[str, Mapping[str, Fate]] = field(default_factory=dict)
    openings: tuple[Opening, ...] = ()

    def expected(self, mode: str) -> Iterator[tuple[str, Fate]]:
        """Each flow with what must become of it in `mode`."""
        for name, by_mode in self.fates.items():
            for known in (mode, mode.partition("-")[0], "else"):
                if known in by_mode:
                    yield name, by_mode[known]
                    break


@dataclass(frozen=True)
class SequenceCase:
    """A whole sequence. `case` has its node, its configuration and every object that there is."""

    case: FlowCase
    steps: tuple[Step, ...]
    modes: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    host: Host = field(default_factory=lambda: Host())

    def suits(self, mode: str) -> bool:
        """Whether it is meant for `mode`."""
        return not self.modes or mode in self.modes

    @property
    def openings(self) -> Iterator[Opening]:
        """Every flow of every step."""
        for step in self.steps:
            yield from step.openings


def load(path: Path) -> SequenceCase:
    """Read and check the sequence in `path`."""
    data = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    where = path.stem
    _known(data, {"name", "node", "config", "objects", "modes", "silent", "host", "steps"}, where)
    node = data.get("node") or {}
    objects: Mapping[str, Any] = data.get("objects") or {}
    told = enumerate(data.get("steps") or [], 1)
    steps = tuple([_step(item, objects, f"{where}: step {number}") for number, item in told])
    opened: set[str] = set()
    for number, step in enumerate(steps, 1):
        if unknown := sorted(set(step.fates) - opened):
            raise CaseError(f"{where}: step {number}: no such flow is open: {', '.join(unknown)}")
        opened |= {opening.name for opening in step.openings if not opening.nobody}
    if not any(step.fates or step.openings for step in steps):
        raise CaseError(f"{where}: no flows")
    case = FlowCase(
        name=str(data.get("name") or where),
        node=Node(
            str(node.get("name") or "node-a"),
            tuple(map(canonical, node.get("ips") or ())),
            tuple(node.get("podCIDRs") or ()),
        ),
        config=data.get("config") or {},
        manifests=tuple(objects.values()),
        flows=(),
    )
    listed = [tuple(map(str, data.get(key) or ())) for key in ("modes", "silent")]
    return SequenceCase(case, steps, *listed, _host(data.get("host") or {}, where))


def _host(item: Any, where: str) -> Host:
    _known(item, {"sysctls", "chains", "uplink", "mtus"}, f"{where}: host")
    return Host(
        item.get("sysctls") or {},
        tuple(item.get("chains") or ()),
        str(item.get("uplink") or ""),
        {canonical(str(ip)): int(mtu) for ip, mtu in (item.get("mtus") or {}).items()},
    )


def _step(item: Any, objects: Mapping[str, Any], where: str) -> Step:
    _known(item, {"apply", "mode", "expect", "open"}, where)
    applied = item.get("apply")
    expected: Mapping[str, Any] = item.get("expect") or {}
    opened: Mapping[str, Any] = item.get("open") or {}
    if unknown := sorted(set(applied or ()) - set(objects)):
        raise CaseError(f"{where}: no such object: {', '.join(unknown)}")
    if applied is None and "mode" in item:
        raise CaseError(f"{where}: mode belongs to apply")
    return Step(
        why=str(item.get("why") or ""),
        objects=None if applied is None else tuple([objects[name] for name in applied]),
        mode=str(item.get("mode") or ""),
        fates={name: _fates(value, f"{where}: expect: {name}") for name, value in expected.items()},
        openings=tuple([_opening(name, value, f"{where}: open: {name}") for name, value in opened.items()]),
    )


def _fates(value: Any, where: str) -> dict[str, Fate]:
    if isinstance(value, Mapping):
        return {str(mode): _fate(str(text), where) for mode, text in value.items()}
    return {"else": _fate(str(value), where)}


def _fate(text: str, where: str) -> Fate:
    verb, _, backend = text.partition(" to ")
    if verb in ("lives", "ends", "waits") and not backend:
        return Fate(verb)
    if verb in ("moves", "gets through") and backend:
        return Fate(verb, join(*split(backend)))
    raise CaseError(
        f"{where}: {text!r} is not lives, moves to BACKEND, ends, waits or gets through to BACKEND"
    )


def _opening(name: str, item: Any, where: str) -> Opening:
    _known(item, {"src", "dst", "dport", "proto", "sport", "answer", "size", "back", "df"}, where)
    answer = item.get("answer") or []
    words: Sequence[str] = answer if isinstance(answer, list) else [answer]
    like = [word.removeprefix(_LIKE) for word in words if word.startswith(_LIKE)]
    backends = [word for word in words if word not in (_NOBODY, _LATER) and not word.startswith(_LIKE)]
    try:
        return Opening(
            name,
            canonical(str(item["src"])),
            canonical(str(item["dst"])),
            int(item["dport"]),
            str(item.get("proto") or "TCP"),
            int(item.get("sport") or 0),
            frozenset(word if word.startswith(TOO_BIG) else join(*split(word)) for word in backends),
            like[0] if like else "",
            _NOBODY in words,
            _LATER in words,
            Datagrams(int(item.get("size") or 0), int(item.get("back") or 0), item.get("df")),
        )
    except (KeyError, ValueError) as error:
        raise CaseError(f"{where}: {error}") from error


def _known(value: Any, keys: set[str], where: str) -> None:
    if not isinstance(value, Mapping):
        raise CaseError(f"{where}: not a mapping")
    if unknown := sorted(set(map(str, value)) - keys - _INFORMATION):
        raise CaseError(f"{where}: unknown key {', '.join(unknown)}")
