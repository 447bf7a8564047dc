"""An apply in two halves: prepare says what it will do, finish does it.

A question may come between, without the node's lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import KcompileError
from ..ir.model import Dataplane
from ..kernel.confirmed import confirm
from ..kernel.itemized import Itemized, keep_items
from ..kernel.remember import Applied, last_mode, recall, remember
from ..modes import Mode
from ..notices import Notice
from ..plans import Plan, Removal
from .basis import allocated, node_basis
from .cluster import Cluster, Memory, complete_input, make_own_folder
from .compile import Seen, chosen_mode, compile_cluster, look
from .edit import is_taken, spliced
from .progress import Progress, silent
from .read import Edited, Input, Unread
from .request import Request, allocations_path
from .session import Session

if TYPE_CHECKING:
    from ..spec.config import Config

__all__ = ["CHANGED", "Prepared", "prepare", "prepare_cluster"]

CHANGED = "this node has changed since the plan was made, and was left alone: try again"


class _Unchanged(NamedTuple):
    """The allocations of an apply that allocates nothing: the file `path` stays while it has `digest`."""

    path: Path
    digest: bytes
    in_own_folder: bool

    def keep(self) -> None:
        """Nothing to write; a folder that others can write to is refused all the same."""
        if self.in_own_folder:
            make_own_folder(self.path)

    def has_changed(self) -> bool:
        """Whether the file says something else than when it was read."""
        return allocated(self.path) != self.digest


class Goal(NamedTuple):
    """What the node is to do, however it was found out: compiled, or remembered.

    `given`: the digest of what was given, `seen` what the node has, `items` the objects of the input.
    `remembered`: the last apply was for just this.
    """

    mode: Mode
    dataplane: Dataplane
    warnings: tuple[Notice, ...]
    memory: Memory | _Unchanged
    given: bytes
    seen: Seen
    items: Itemized | None = None
    remembered: bool = False


class Prepared(NamedTuple):
    """What an apply will do.

    Made under the node's lock, which it outlives: see `again`. `applied`: what was applied before it.
    """

    applied: Applied | None
    goal: Goal
    session: Session
    plan: Plan

    @property
    def begins_retiring_mode(self) -> bool:
        """Whether the node comes to a mode that Kubernetes is about to drop."""
        mode = self.goal.mode
        return mode.retiring and (self.applied is None or self.applied.mode != mode.name)

    @property
    def removal(self) -> Removal:
        """The Services that go."""
        return self.session.removal(self.plan, self.goal.dataplane)

    def again(self, directory: Path, progress: Progress = silent) -> Prepared:
        """The same under a new lock.

        Raises KcompileError where the node or its allocations have changed since.
        """
        session = Session.open(self.session.request, self.goal.mode, directory)
        applied = recall(directory)
        plan = session.plan(self.goal.dataplane, self.goal.warnings, progress, applied=applied)
        if not plan.is_like(self.plan) or self.goal.memory.has_changed():
            raise KcompileError(CHANGED)
        return self._replace(session=session, plan=plan, applied=applied)

    def finish(self, directory: Path, progress: Progress = silent) -> tuple[Notice, ...]:
        """Write everything, the allocations first; returns warnings. Call it under the lock.

        :raises KernelError: where the kernel refuses something, or what must be remembered has no room
        """
        self.goal.memory.keep()
        if self.goal.remembered and self.plan.empty and self.applied is not None:
            self._confirm(directory, self.applied.digest)
            return ()
        applied = self._remembered()
        with remember(directory, applied) as staged:

            def done() -> None:
                staged.commit()
                self._confirm(directory, applied.digest)
                if self.goal.items is not None and not self.goal.warnings:
                    keep_items(directory, msgspec.structs.replace(self.goal.items, applied=applied.digest))

            if not self.plan.empty:
                return self.session.commit(self.plan, self.goal.dataplane, progress, then=done)
            done()
        return ()

    def _remembered(self) -> Applied:
        goal = self.goal
        basis = b""
        if goal.given:
            memory = allocated(allocations_path(self.session.request))
            basis = node_basis(goal.given, goal.mode.name, goal.seen, memory)
        return Applied(self.session.driver.name, goal.dataplane, basis, goal.given, goal.warnings)

    def _confirm(self, directory: Path, digest: bytes) -> None:
        """Write down what the kernel says of its rules, for the next apply."""
        if self.session.is_confirmed(digest):
            return
        what = self.session.confirmation(digest)
        if what is not None:
            confirm(directory, what)


def prepare(
    request: Request, given: Input | Unread | Edited, directory: Path, progress: Progress = silent
) -> Prepared:
    """From a checked input to the plan for this node.

    `directory`: its run directory, locked. Raises KcompileError.
    """
    applied = recall(directory)
    progress("compiling")
    goal = None
    if applied is not None and isinstance(given, Unread):
        goal = _remembered_goal(request, given.config, given.basis, applied)
    elif applied is not None and isinstance(given, Edited):
        goal = _edited_goal(request, given, applied)
    if goal is None:
        read = given if isinstance(given, Input) else given.read()
        goal = _compiled_goal(request, read, last_mode(directory))
    elif not isinstance(given, Input):
        given.read.drop()
    return _prepared(goal, request, directory, applied, progress)


def prepare_cluster(
    cluster: Cluster, request: Request, directory: Path, progress: Progress = silent
) -> Prepared:
    """The same from a cluster that is complete. Raises KcompileError."""
    applied = recall(directory)
    goal = _cluster_goal(cluster, request, last_mode(directory))
    return _prepared(goal, request, directory, applied, progress)


def _prepared(
    goal: Goal, request: Request, directory: Path, applied: Applied | None, progress: Progress
) -> Prepared:
    session = Session.open(request, goal.mode, directory)
    plan = session.plan(goal.dataplane, goal.warnings, progress, applied=applied)
    return Prepared(applied, goal, session, plan)


def _remembered_goal(request: Request, config: Config, given: bytes, applied: Applied) -> Goal | None:
    """That of the last apply; None where it was made of something else."""
    mode = chosen_mode(config, applied.mode)
    seen = look(mode, request)
    path = allocations_path(request)
    memory = _Unchanged(path, allocated(path), in_own_folder=not request.state)
    if not applied.basis or node_basis(given, mode.name, seen, memory.digest) != applied.basis:
        return None
    return Goal(mode, applied.dataplane, applied.warnings, memory, given, seen, remembered=True)


def _edited_goal(request: Request, given: Edited, applied: Applied) -> Goal | None:
    """That of the last apply with what an edit makes of a few Services; None where the whole must be looked
    at.
    """
    from ..spec.convert import service_ports

    before = _remembered_goal(request, given.config, given.given, applied)
    if before is None or applied.digest != given.since or before.warnings or request.quiet_warnings:
        return None
    try:
        cluster = complete_input(given.part, request, before.memory.path)
        part = compile_cluster(cluster, request, default_mode=applied.mode, seen=before.seen)
    except KcompileError:
        return None
    if before.mode.binds_addresses and is_taken(before.dataplane, service_ports(cluster.inventory)):
        return None
    dataplane = spliced(before.dataplane, part.dataplane, given.services)
    if dataplane is None or part.warnings:
        return None
    return before._replace(dataplane=dataplane, given=given.basis, items=given.items, remembered=False)


def _compiled_goal(request: Request, given: Input, default_mode: str | None) -> Goal:
    cluster = complete_input(given, request, allocations_path(request))
    items = None if request.quiet_warnings else given.items
    return _cluster_goal(cluster, request, default_mode)._replace(given=given.basis, items=items)


def _cluster_goal(cluster: Cluster, request: Request, default_mode: str | None) -> Goal:
    compiled = compile_cluster(cluster, request, on_node=True, default_mode=default_mode)
    return Goal(
        mode=compiled.mode,
        dataplane=compiled.dataplane,
        warnings=compiled.warnings,
        memory=cluster.memory,
        given=b"",
        seen=compiled.seen,
    )
