"""Runs a plan: a group's clusters side by side, rounds of blocks there and back in turn (ABBA), every whole
round on disk.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kcompile.errors import KcompileError, UnsupportedError

from . import control
from .cluster import Cluster, Place, target_of
from .drive import Server, program
from .histogram import Histogram
from .measures import KINDS, Block, Work
from .record import moment
from .results import Results
from .rules import Rules, reason_of
from .scenario import BASELINES, CONNTRACK, NONE, Condition, Group, Stage
from .specs import pods_of

__all__ = ["Runner"]

_BLOCK_SECONDS = 0.012  # of a block that has no length of its own; only for the first guess at the time left
_APPLY_SECONDS = 1.5
_GIVE_UP = 2  # failed blocks, after which a condition is left alone for the rest of its stage


class Runner:
    """`progress` is called with the step and the seconds left.

    `inject` slows modes down: mode -> factor of the baseline's connect().
    """

    def __init__(
        self,
        results: Results,
        place: Place,
        progress: Callable[[str, float], None],
        inject: Mapping[str, float] | None = None,
    ) -> None:
        self.results, self.place, self._tell = results, place, progress
        self._inject = dict(inject or {})
        self._expected: dict[str, float] = {}  # stage -> seconds, as long as it hasn't been done
        self._pace = 1.0  # how much slower than expected it goes
        self._connections: Counter[str] = Counter()  # mode and client -> source ports used
        self._rules: dict[str, Rules] = {}  # of the group's modes
        self._present = ""  # a shared place: the mode that is on the nodes

    def run(self) -> None:
        """Run everything that isn't on disk yet."""
        program()  # no compiler: say so now
        plan, results = self.results.plan, self.results
        self._expect()
        for group in plan.each_group():
            if any(self._left(stage) for stage in plan.stages(group, results.modes(str(group)))):
                self._group(group)
        self._control()
        self.results.write({"end": moment()})

    # --- a group
    # ------------------------------------------------------------------------------------------------------

    def _group(self, group: Group) -> None:
        with contextlib.ExitStack() as stack:
            clusters = dict(self._clusters(stack, group))
            for stage in self.results.plan.stages(group, list(clusters)):
                if self._left(stage):
                    self._stage(stage, clusters)
            self._enter(NONE, clusters)

    def _enter(self, mode: str, clusters: Mapping[str, Cluster]) -> None:
        """With one cluster for all modes: apply the rules of `mode` on its nodes, unless they are applied."""
        if not self.place.shared or mode == self._present or {mode, self._present} <= set(BASELINES):
            return
        if mode in BASELINES:
            self._rules[mode].remove(clusters[mode])
        else:
            self._rules[mode].apply(clusters[mode])
        self._present = mode

    def _clusters(self, stack: contextlib.ExitStack, group: Group) -> Iterator[tuple[str, Cluster]]:
        """A cluster for each baseline and each available mode, with its rules applied."""
        pods = pods_of(group, self.place.site)
        for mode in (*BASELINES, *self.results.modes(str(group))):
            self._say(f"{group}: rules of {mode}")
            with contextlib.ExitStack() as own:
                rules = own.enter_context(Rules.of(mode, group))
                cluster = own.enter_context(self.place.cluster(mode, pods))
                try:
                    seconds = rules.apply(cluster)
                except UnsupportedError as error:
                    self.results.write({"group": str(group), "mode": mode, "absent": reason_of(error)})
                    continue
                cluster.settle()
                if rules.outlive:
                    own.callback(rules.remove, cluster)
                self._rules[mode], self._present = rules, mode
                if (str(group), mode) not in self.results.ready:
                    self.results.write(
                        {
                            "group": str(group),
                            "mode": mode,
                            "ready": round(seconds, 3),
                            "rules": rules.digest(),
                        }
                    )
                stack.enter_context(own.pop_all())
                yield mode, cluster

    # --- a stage
    # ------------------------------------------------------------------------------------------------------

    def _left(self, stage: Stage) -> list[int]:
        """The rounds of `stage` that are still to be run."""
        if stage.name in self.results.absent_stages:
            return []
        done = self.results.rounds.get(stage.name, {})
        return [n for n in range(stage.measure.rounds) if n not in done]

    def _stage(self, stage: Stage, clusters: Mapping[str, Cluster]) -> None:
        kind = KINDS[stage.measure.kind]
        try:
            if not self.place.local and stage.measure.kind == "handshake":
                raise UnsupportedError("the tracepoint program runs on this machine only")
            tool = kind.prepare()
        except UnsupportedError as error:
            self.results.write({"stage": stage.name, "absent": str(error)})
            return
        with contextlib.ExitStack() as stack:
            shared = stack.enter_context(tool)
            modes = dict.fromkeys(c.mode for c in stage.conditions)
            by_cluster = {id(clusters[m]): clusters[m] for m in modes}
            servers_by = {
                key: stack.enter_context(kind.server(cluster)) for key, cluster in by_cluster.items()
            }
            servers = {mode: servers_by[id(clusters[mode])] for mode in modes}
            time.sleep(0.2)
            spins = self._spins(stage, clusters, servers)
            failed: Counter[Condition] = Counter()

            def block(condition: Condition) -> Block:
                if failed[condition] >= _GIVE_UP:
                    return {"figures": {}, "left": True}
                self._enter(condition.mode, clusters)
                cluster, target = clusters[condition.mode], target_of(condition, stage.group, self.place.site)
                client = f"{condition.mode} {target.role}"
                first = self._connections[client]
                self._connections[client] += stage.measure.count + 10
                spin = spins.get(condition.mode, 0)
                try:
                    found = kind.block(
                        Work(cluster, target, stage.measure, servers[condition.mode], shared, first, spin)
                    )
                except KcompileError as error:
                    found = {"figures": {}, "error": str(error)[:200], "failures": 1}
                failed[condition] += not found["figures"]
                return found

            for number in self._left(stage):
                self._say(f"{stage.name}: round {number + 1} of {stage.measure.rounds}")
                started = time.monotonic()
                order = stage.conditions if number % 2 == 0 else stage.conditions[::-1]
                gc.collect()
                gc.disable()
                try:
                    blocks = {str(condition): block(condition) for condition in order}
                finally:
                    gc.enable()
                seconds = time.monotonic() - started
                for found in blocks.values():
                    if "histogram" in found:
                        found["histogram"] = Histogram(found["histogram"]).packed()
                self.results.write(
                    {"stage": stage.name, "round": number, "seconds": round(seconds, 3), "blocks": blocks}
                )
                self._done(stage.name, seconds, stage.measure.rounds)

    def _spins(
        self, stage: Stage, clusters: Mapping[str, Cluster], servers: Mapping[str, Server]
    ) -> dict[str, int]:
        """Nanoseconds to burn in each timed connect of a mode with an injected slowdown: a share of the
        baseline's median.
        """
        if not self._inject or stage.measure.kind != "connect":
            return {}
        condition = next(c for c in stage.conditions if c.mode == NONE)
        self._enter(NONE, clusters)
        work = Work(
            clusters[NONE],
            target_of(condition, stage.group, self.place.site),
            stage.measure,
            servers[NONE],
            None,
        )
        usual = KINDS["connect"].block(work)["figures"]["p50"]
        return {mode: round(usual * (factor - 1)) for mode, factor in self._inject.items()}

    # --- the control plane
    # --------------------------------------------------------------------------------------------

    def _control(self) -> None:
        plan = self.results.plan
        for services in plan.control_services:
            group = str(control.group_of(services, self.place.site))
            modes = [mode for mode in self.results.modes(group) if mode != CONNTRACK]
            for number in range(plan.control_rounds):
                if number in self.results.control.get(services, {}):
                    continue
                self._say(f"{services} Services put in, round {number + 1} of {plan.control_rounds}")
                started, found = time.monotonic(), dict[str, Any]()
                for mode in modes if number % 2 == 0 else modes[::-1]:
                    if (group, mode) in self.results.absent_modes:
                        continue
                    try:
                        found[mode] = control.measure(self.place, mode, services)
                    except UnsupportedError as error:
                        self.results.write({"group": group, "mode": mode, "absent": reason_of(error)})
                    except KcompileError as error:
                        found[mode] = {"error": str(error)[:200]}
                seconds = time.monotonic() - started
                self.results.write(
                    {"control": services, "round": number, "seconds": round(seconds, 3), "modes": found}
                )
                self._done(f"control {services}", seconds, plan.control_rounds)

    # --- progress
    # -----------------------------------------------------------------------------------------------------

    def _expect(self) -> None:
        plan = self.results.plan
        for group in plan.each_group():
            for stage in plan.stages(group, self.results.modes(str(group))):
                block = max(_BLOCK_SECONDS, stage.measure.seconds * 1.2)
                self._expected[stage.name] = len(self._left(stage)) * len(stage.conditions) * block
        for services in plan.control_services:
            left = plan.control_rounds - len(self.results.control.get(services, {}))
            self._expected[f"control {services}"] = left * len(plan.modes) * 3 * _APPLY_SECONDS

    def _done(self, stage: str, seconds: float, rounds: int) -> None:
        """Note that a round of `stage` took `seconds`, to estimate the time left."""
        left = max(0, rounds - len(self.results.rounds.get(stage, ())))
        if stage.startswith("control "):
            left = max(0, rounds - len(self.results.control[int(stage.split()[1])]))
        expected = self._expected[stage] / (left + 1)
        if expected:
            self._pace = 0.8 * self._pace + 0.2 * seconds / expected
        self._expected[stage] -= expected

    def _say(self, what: str) -> None:
        self._tell(what, self._pace * sum(self._expected.values()))
