"""A sequence from its first apply to its last: what open connections did, held against what they should have
done.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Self

from kcompile.cli.apply import command as apply_command

from . import netns
from .command import Kcompile
from .conversations import RETRY, Conversation, Servers
from .ebpf import room
from .loop import Loop
from .runner import delete_all
from .sequence import Fate, Opening, SequenceCase, Step
from .topology import Topology

__all__ = ["run_sequence"]

_EMPTY = "--allow-empty"
_NOBODY = 0.6
"""Seconds after which nobody will answer any more."""


class _Place(contextlib.ExitStack):
    """The node, its pods and the world of a sequence, with a server at every endpoint and the flows that are
    open.
    """

    def __init__(self, sequence: SequenceCase) -> None:
        super().__init__()
        self._sequence, self.case = sequence, sequence.case
        node = sequence.case.node
        self._endpoints = set(sequence.case.endpoints())
        pods = {ip for ip, _, _, name in self._endpoints if name == node.name}
        pods |= {opening.src for opening in sequence.openings if node.has_pod(opening.src)}
        self.topology = Topology(node.ips, pods - set(node.ips), over=sequence.host.uplink)
        self.loop = Loop()
        self.open: dict[str, tuple[Conversation, str]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.enter_context(self.topology)
            self.enter_context(self.loop)
            servers = Servers(self.loop)
            for ip, port, proto in sorted({endpoint[:3] for endpoint in self._endpoints}):
                servers.open(self.topology.home(ip), ip, port, proto)
            self._furnish()
            netns.batch(
                [f"route add blackhole {ip} table local" for ip in self._sequence.silent], self.topology.world
            )
        except BaseException:
            self.close()
            raise
        return self

    def _furnish(self) -> None:
        """Give the node what the sequence says that it has of its own."""
        host, node = self._sequence.host, self.topology.node
        if host.chains:
            chains = "".join(f"chain {chain};\n" for chain in host.chains)
            netns.run(node, ["nft", "-f", "-"], text=f"table inet host {{\n{chains}}}\n")
        netns.sysctl(node, host.sysctls)
        for index, ip in enumerate(self.topology.pods):
            if ip in host.mtus:
                netns.batch([f"link set pod{index} mtu {host.mtus[ip]}"], node)
                netns.batch([f"link set eth0 mtu {host.mtus[ip]}"], self.topology.pods[ip])

    def begin(self, opening: Opening) -> str:
        """Open a flow; says what is wrong, or nothing."""
        home = self.topology.home(opening.src)
        flow = Conversation(
            self.loop,
            home,
            opening.src,
            opening.dst,
            opening.dport,
            opening.proto,
            opening.sport,
            opening.datagrams,
        )
        flow.start()
        if opening.waiting:
            self.open[opening.name] = flow, ""
            return ""
        answer = flow.opened(_NOBODY if opening.nobody else RETRY)
        reached = _is_backend(answer)
        if opening.nobody:
            flow.close()
            return f"{opening.name}: nobody should answer, but {answer} does" if reached else ""
        wanted = opening.answer
        if opening.like:
            wanted = (
                {self.open[opening.like][1]} if opening.like in self.open else {f"who answers {opening.like}"}
            )
        if not reached and answer in wanted:
            flow.close()
            return ""
        if not reached or (wanted and answer not in wanted):
            flow.close()
            return (
                f"{opening.name}: {' or '.join(sorted(wanted)) or 'a backend'} should answer, but: {answer}"
            )
        self.open[opening.name] = flow, answer
        return ""

    def judge(self, name: str, fate: Fate) -> str:
        """What has become of an open flow; says what is wrong, or nothing."""
        if name not in self.open:
            return f"{name}: {fate}, it should be, but it never began"
        flow, before = self.open[name]
        begins = fate.verb in ("gets through", "waits")
        answer = flow.opened(RETRY if fate.backend else _NOBODY) if begins else flow.ask()
        reached = _is_backend(answer)
        if fate.verb == "ends":
            right = not reached and (answer != "silence" or flow.datagrams)
            flow.close()
            del self.open[name]
        elif fate.verb == "waits":
            right = answer == "silence"
        else:
            right = answer == (fate.backend or before)
        if reached and name in self.open:
            self.open[name] = flow, answer
        return "" if right else f"{name} (with {before or 'nobody yet'}): {fate}, it should be, but: {answer}"


def _is_backend(answer: str) -> bool:
    return answer.rpartition(":")[2].isdigit()


def run_sequence(
    sequence: SequenceCase,
    mode: str,
    folder: Path,
    prepare: Callable[[str], object] | None = None,
) -> list[str]:
    """Everything that is wrong with kcompile in `mode` (at first) under `sequence`, a message each.

    `folder` is for its files. `prepare` is given the node's namespace before the first step.
    """
    modes = [mode, *(step.mode for step in sequence.steps if step.mode)]
    xdp = next((one for one in modes if one.startswith("xdp")), mode)
    with _Place(sequence) as place, room(xdp, folder) as options:
        kcompile = Kcompile(mode, place.topology.node, folder, options if mode == xdp else ())
        failures: list[str] = []
        if prepare is not None:
            prepare(place.topology.node)
        try:
            for number, step in enumerate(sequence.steps, 1):
                if step.mode:
                    kcompile.mode, kcompile.options = (
                        step.mode,
                        options if step.mode.startswith("xdp") else (),
                    )
                name = f"step {number} ({step.why})" if step.why else f"step {number}"
                failures += [f"{name}: {text}" for text in _take(step, place, kcompile, mode)]
            for flow, _ in place.open.values():
                flow.close()
            if sequence.host.chains:
                netns.run(place.topology.node, ["nft", "delete", "table", "inet", "host"])
            return failures + delete_all(kcompile, {*modes} - {kcompile.mode})
        finally:
            kcompile.kill()


def _take(step: Step, place: _Place, kcompile: Kcompile, mode: str) -> list[str]:
    if step.objects is not None and (trouble := _apply(step, place, kcompile)):
        return [trouble]
    wrong = [place.judge(name, fate) for name, fate in step.expected(mode)]
    wrong += [place.begin(opening) for opening in step.openings]
    return [text for text in wrong if text]


def _apply(step: Step, place: _Place, kcompile: Kcompile) -> str:
    objects = step.objects or ()
    case = dataclasses.replace(place.case, manifests=objects)
    has_services = any(item.get("kind") == "Service" for item in objects)
    has_option = any(_EMPTY in parameter.opts for parameter in apply_command.params)
    options = [_EMPTY] if has_option and not has_services else []
    applied = kcompile.apply(case, *options)
    return f"apply: exit {applied.code}: {applied.output.strip()}" if applied.code else ""
