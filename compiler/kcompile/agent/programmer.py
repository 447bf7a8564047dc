"""Writes one node's rules: all of them at first and in doubt, else those of the Services that changed.

Runs in the kernel thread, in the node's network namespace, under its lock.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..engine.basis import code_basis
from ..engine.session import Session
from ..errors import KernelError
from ..kernel.confirmed import Confirmed, confirm
from ..kernel.heap import release
from ..kernel.held import Held, hold
from ..kernel.node import NodeResources
from ..kernel.remember import Applied, forget, last_mode, recall, remember
from ..kernel.watch import Watch
from ..program import Program, diff, digest
from ..targets.base import FrontendView, Incremental
from ..targets.flowtable import FlowtableKey
from ..targets.node import is_flowtable
from .ledger import Ledger
from .log import log_sync
from .options import Options
from .ownnode import OwnNode
from .ports import Changed, Ports, Surroundings
from .record import ProgrammedService, Record, Sync
from .serve import HealthCheckPorts, check_addresses
from .state import Batch, State
from .upkeep import Upkeep
from .warn import Warnings

if TYPE_CHECKING:
    from ..ir.model import Dataplane, HealthCheck

__all__ = ["Programmer"]

_EXAMPLES = 5


class _Moment(NamedTuple):
    """The beginning of a sync, by both clocks."""

    epoch: float
    monotonic: float


class Programmer:
    """Keeps the node that `options` name true to `state`.

    :param checks: answers the health check ports
    :param directory: the namespace's run directory
    :raises ConfigError: for a mode that there isn't
    """

    def __init__(
        self,
        options: Options,
        state: State,
        record: Record,
        log: logging.Logger,
        checks: HealthCheckPorts,
        directory: Path,
    ) -> None:
        self._request, self._state, self._record, self._log = options.request, state, record, log
        self._checks, self._directory = checks, directory
        self.warnings = Warnings(options.request, log)
        self._applied = recall(directory)
        self.node = OwnNode(options, state, directory, last_mode(directory))
        self._driver = self.node.driver()
        self.watch = Watch(self._driver)  # before the first look, so that nothing is missed
        self._held: Held | None = None
        self._following: Incremental | None = None
        self._upkeep: Upkeep | None = None
        self._node_desired: Program = {}
        self._answered: tuple[tuple[HealthCheck, ...], tuple[str, ...]] = ((), ())
        self._ledger = Ledger()
        self._doubt = True  # of what the kernel holds
        self._drifted = False  # another program may have changed it
        self._began = False  # the first sync is done
        self.look_due = False  # addresses or interfaces changed while all was written
        self._moved = False  # the ports have other surroundings than the rules
        self._versions: frozenset[int] = frozenset()
        self._waiting: list[Batch] = []  # taken, and not in the kernel yet; without their objects
        self.ports: Ports | None = None
        self.warnings.configuration(options.config)

    # ---- what the kernel thread calls

    @property
    def synced(self) -> bool:
        """Whether the kernel holds the rules of everything that was taken."""
        return not (self._doubt or self._moved or self._waiting)

    @property
    def follows_links(self) -> bool:
        """Whether something depends on the node's interfaces."""
        return self.node.mode.sees_interfaces or self._has_flowtable

    @property
    def upkeep_due(self) -> bool:
        """Whether conntrack is to be looked at."""
        return self._upkeep is not None and self._upkeep.due

    def sync(self) -> None:
        """Bring the kernel up to date with the state.

        :raises KcompileError: where that fails. The next call then reads the kernel, and does all of it
        """
        if self.ports is None:
            self.ports = Ports(self._surroundings())
        batch = self._state.take()
        began = _Moment(time.time(), batch.taken)
        self._waiting.append(batch._replace(services={}))
        changed = self._compile(self.ports, batch)
        if self._doubt or batch.whole or self._moved:
            self._move()
        if self._doubt or self._moved or self._crosses_families(changed):
            self._write_all(began)
        else:
            self._write_part(changed, began)
        self._waiting.clear()

    def look(self) -> None:
        """Look at the node's addresses and interfaces; where they have changed, `sync` is due.

        An interface that only the flowtable is to have, or has no more, is seen to at once.
        """
        self.look_due = False
        if self.ports is not None and self._move():
            self._record.queued()
        elif self._has_flowtable and not self._doubt:
            self._follow_links()

    def check(self) -> None:
        """Look whether the kernel and the node still are as they were written to; if not, `sync` is due."""
        if self._held is None or self._following is None or self._doubt:
            return
        self._doubt = True  # where a look fails
        self._drifted |= self._held.differs(self._following.program)
        self._doubt = self._drifted or self._resources_differ()
        if self._doubt:
            self._record.queued()
        self._answer_checks()  # a port that was taken may be free
        self._record.filling = self._held.filling()
        self.warnings.filling(self._record.filling)
        release()
        self.look()

    def housekeep(self) -> bool:
        """Take away what only open connections needed; returns whether something is left for them."""
        if self._held is None or self._following is None or self._doubt:
            return False
        self._doubt = True  # where that fails
        left = self._held.housekeep(self._following.program)
        self._doubt = False
        return left

    def others(self, generations: Collection[int]) -> bool:
        """Whether another program has made one of these transactions of nf_tables."""
        return self._held is not None and bool(generations) and self._held.others(generations)

    def tidy(self) -> None:
        """Delete conntrack entries that the changed ports left. Raises KernelError."""
        if self._upkeep is not None and self.ports is not None:
            self._upkeep.run(self.ports.udp(), self.ports.surroundings.node.interfaces)

    def programmed(self) -> list[ProgrammedService]:
        """See `record.Programmed`. From any thread."""
        if self.ports is None:
            return []
        pending = self._record.pending_seconds or 0.0
        return self._ledger.rows(self.ports, self._record.errors, self._state.dirty(), pending)

    def frontends(self) -> list[FrontendView]:
        """What the rules answer."""
        if self._following is None:
            return []
        return self._driver.target.frontends(self._following.program)

    def resources(self) -> int:
        """How many resources the mode's Program has."""
        return 0 if self._following is None else len(self._following.program)

    def close(self) -> None:
        """Let go of the kernel; the rules stay, and are remembered for the next command."""
        self.watch.close()
        if self._upkeep is not None:
            self._upkeep.close()
        if self._held is None:
            return
        try:
            if self.ports is not None and self._following is not None and self.synced:
                applied = Applied(self._driver.name, self.ports.dataplane())
                with contextlib.suppress(KernelError), remember(self._directory, applied) as staged:
                    staged.commit()
                    self._confirm(applied, self._held, self._following.program)
        finally:
            self._held.close()
            self._held = None

    def _confirm(self, applied: Applied, held: Held, program: Program) -> None:
        """Write down what tells that the kernel still holds `program`, for the next agent or command."""
        generation = self._driver.generation()
        if self._drifted or held.touched():
            generation = None
        stands = self._driver.target.standing(program)
        what = Confirmed(
            mode=self._driver.name,
            code=code_basis(),
            applied=applied.digest,
            families=self._driver.families(),
            standing=stands,
            stands=stands,
            generation=generation,
            rules=digest(program) if generation is None else b"",
        )
        confirm(self._directory, what)

    # ---- compiling

    def _compile(self, ports: Ports, batch: Batch) -> Changed:
        """Take in the objects that changed."""
        changed = ports.update(batch.services)
        known = self._record.errors
        for name, error in changed.bad.items():
            if known.get(name, ("",))[0] != error:
                self._log.warning("Service %s keeps its last good rules: %s", name, error)
            self._record.bad(name, error)
        for name in set(changed.good) - batch.unreadable:
            self._record.good(name)
        self.warnings.notices(changed.notices)
        return changed

    def _surroundings(self) -> Surroundings:
        surroundings = self.node.surroundings(self._driver)
        self.warnings.node(self.node.lacks)
        return surroundings

    def _move(self) -> bool:
        """Resolve everything again where what it depends on has changed; whether that is to be written."""
        assert self.ports is not None
        waiting, self._moved = self._moved, True  # a failure leaves it open
        surroundings = self._surroundings()
        if surroundings == self.ports.surroundings:
            self._moved = waiting
        else:
            self.ports = self.ports.moved(surroundings)
        return self._moved

    def _crosses_families(self, changed: Changed) -> bool:
        """Whether an IP version comes into use, or goes out of it: then the node's sysctls change too."""
        assert self.ports is not None
        came = {port.family.value for port in changed.new}
        gone = {port.family.value for port in changed.old}
        return bool(gone - self.ports.versions) or bool(came - self._versions)

    # ---- writing

    def _write_all(self, began: _Moment) -> None:
        """Write what differs, from what the kernel is known to hold, or read where that is in doubt."""
        assert self.ports is not None
        dataplane = self.ports.dataplane()
        before = None if self._following is None else self._following.program
        session = self._session()
        try:
            plan = session.plan(
                dataplane,
                applied=self._applied if before is None else None,
                held=None if self._doubt else before,
                lower=self._follow,
            )
            if self._drifted and before is not None:
                self._tell_drift(session, before)
            if not plan.empty:
                self.warnings.notices(session.commit(plan, dataplane, forks=False))
        finally:
            self._doubt = True
        self._adopt(session, wrote=not plan.empty)
        self.warnings.limits(self.node.mode, dataplane, whole=True)
        self._checks.take_over(self._directory)
        self._answer_checks()
        release()
        self._ledger.wrote_all(time.time())
        self._done(began, full=True, services=len(self.ports.services), changes=len(plan.changes))

    def _session(self) -> Session:
        """A look at everything in doubt; else at this mode alone, in which nobody else writes."""
        if self._doubt:
            return Session.open(self._request, self.node.mode, self._directory, answers=False)
        return Session(self._request, self._driver, [], self._resources())

    def _follow(self, dataplane: Dataplane) -> Program:
        self._following = self.node.mode.follow(dataplane)
        return self._following.program

    def _adopt(self, session: Session, *, wrote: bool) -> None:
        """The kernel holds what `session` wanted; `wrote`: it did not before, and conntrack was looked at."""
        assert self.ports is not None
        if self._held is not None:
            self._held.close()
        if self._following is None:
            self._follow(session.lowered)
        self._driver, self._held = session.driver, hold(session.driver)
        self._node_desired = session.node_desired
        if wrote or self._upkeep is None:
            if self._upkeep is not None:
                self._upkeep.close()
            self._upkeep = Upkeep(session.driver.target)
        self._versions = self.ports.versions
        self._doubt = self._moved = False
        alone = session.was_alone()
        self._drifted = alone is False  # the next check reads, to be sure
        if alone:  # what was noticed of rules are our own writes
            happened = self.watch.read()
            self.look_due |= happened.addresses or happened.links
        if not self._began:
            forget(
                self._directory, self._driver.name
            )  # what an apply has left grows old with the first change
            self._began, self._applied = True, None

    def _write_part(self, changed: Changed, began: _Moment) -> None:
        """Write the ports that changed."""
        assert self.ports is not None
        assert self._following is not None
        assert self._held is not None
        assert self._upkeep is not None
        self._doubt = True
        self.warnings.limits(self.node.mode, self.ports.plane(changed.new), whole=False)
        changes = self._following.replace(changed.old, changed.new)
        if changes:
            self.warnings.notices(self._held.apply(changes))
        if self.ports.health_checks != self._answered[0]:
            others = self._following.check(self.ports.health_checks)
            if others:
                self.warnings.notices(self._held.apply(others))
            changes += others
        self._answer_checks()
        self._doubt = False
        self._upkeep.note(changed.old, changed.new)
        waited = self._done(began, full=False, services=len(changed.services), changes=len(changes))
        self._ledger.wrote(changed.services, time.time(), waited)

    def _answer_checks(self) -> None:
        """Answer the health check ports as they are now."""
        assert self.ports is not None
        wanted = self.ports.health_checks, check_addresses(self.ports.surroundings.node)
        if wanted != self._answered or self._checks.failed:
            self._answered = wanted
            self.warnings.notices(self._checks.replace(*wanted))

    def _resources(self) -> NodeResources:
        return NodeResources(self._directory, answers=False)

    def _resources_differ(self) -> bool:
        resources = self._resources()
        goal = resources.goal(self._node_desired)
        return bool(diff(resources.observe(goal), goal))

    @property
    def _has_flowtable(self) -> bool:
        return FlowtableKey() in self._node_desired

    def _follow_links(self) -> None:
        """Give the flowtable the interfaces that there are now."""
        resources = self._resources()
        goal = resources.goal(self._node_desired)
        changes = [c for c in diff(resources.observe(goal), goal) if is_flowtable(c.key)]
        resources.apply(changes, self._node_desired)

    def _tell_drift(self, session: Session, expected: Program) -> None:
        """Say what another program has changed in the kernel."""
        target = session.driver.target
        changes = diff(expected, session.observed)
        if not changes:
            return
        named = [target.describe(c.key, c.old if c.new is None else c.new) for c in changes[:_EXAMPLES]]
        self._record.drift(len(changes), named)
        self._log.warning(
            "another program changed %d resources, for example %s; they are repaired", len(changes), named[0]
        )

    def _done(self, began: _Moment, *, full: bool, services: int, changes: int) -> float:
        """Tell of a sync; returns the seconds from the oldest event to its end."""
        now = time.monotonic()
        oldest = [batch.oldest for batch in self._waiting if batch.oldest is not None]
        triggers = tuple([moment for batch in self._waiting for moment in batch.triggers])
        waited = now - min(oldest) if oldest else 0.0
        sync = Sync(began.epoch, now - began.monotonic, full, services, changes, triggers, waited)
        log_sync(self._log, self.node.mode.name, sync, first=self._record.last_sync is None)
        self._record.synced(sync)
        return waited
