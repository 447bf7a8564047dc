"""``kcompile delete``: take what is ours off the node; with -f only the Services in those files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from ..errors import InputError, KcompileError
from . import options
from .console import Progress, echo, print_data, warn
from .plan import headline, print_plan

if TYPE_CHECKING:
    from pathlib import Path

    from ..ir.model import Dataplane
    from ..plan import Plan
    from .session import Session

__all__ = ["command"]

_NOTHING = "Nothing to delete."


@click.command("delete")
@options.specs
@options.output
@options.dry_run
@options.yes
def command(output: str, dry_run: str, yes: bool, **shared: Any) -> None:
    """Remove kcompile's rules from this node, every mode's unless --mode names one, and put sysctls back.

    With -f only the Services in those manifests go; the others stay as they were last applied.
    """
    request = options.Request(**shared)
    from .session import Session

    if request.reads:
        _delete_services(request, output, dry_run, yes=yes)
        return
    with Session.at(request) as directory:
        _delete_everything(request, directory, output, dry_run)


def _delete_services(request: options.Request, output: str, dry_run: str, *, yes: bool) -> None:
    from .confirm import ask, must_ask
    from .session import CHANGED, Session
    from .specs import read_services

    names = read_services(request)
    progress = Progress()
    with Session.at(request) as directory:
        if _nothing_there(directory):
            progress.done()
            _report_nothing(output)
            return
        rest = _Rest.make(request, names, directory, progress)
        removal = rest.session.removal(rest.plan, rest.dataplane)
        progress.done()
        unanswered = dry_run == "none" and must_ask(removal, yes=yes)
        if not unanswered:
            rest.finish(directory, output, dry_run, progress)
            return
    ask(removal)
    with Session.at(request) as directory:
        again = _Rest.make(request, names, directory, progress)
        if again.plan != rest.plan:
            raise KcompileError(CHANGED)
        again.finish(directory, output, dry_run, progress)


class _Rest(NamedTuple):
    """What stays on the node when Services are deleted, and the plan for it."""

    mode: str
    dataplane: Dataplane
    session: Session
    plan: Plan

    @classmethod
    def make(cls, request: options.Request, names: set[str], directory: Path, progress: Progress) -> _Rest:
        """All but the Services `names`. Raises InputError where nothing is known of an earlier apply."""
        from ..kernel.remember import recall
        from .session import Session

        applied = recall(directory)
        if applied is None:
            raise InputError("delete -f: nothing is remembered of an earlier apply on this node; apply the remaining manifests instead")
        dataplane = _without(applied.dataplane, names)
        session = Session.open(request, applied.mode, directory)
        return cls(applied.mode, dataplane, session, session.plan(dataplane, (), progress))

    def finish(self, directory: Path, output: str, dry_run: str, progress: Progress) -> None:
        from ..kernel.remember import remember

        if dry_run != "none":
            _show(self.session, self.plan, output, dry_run, progress)
            return
        with remember(directory, self.mode, self.dataplane) as applied:
            if self.plan.empty:
                applied.commit()
            else:
                warn(self.session.commit(self.plan, self.dataplane, progress, then=applied.commit))
        progress.done()
        _report(self.session, self.plan, output)


def _nothing_there(directory: Path) -> bool:
    """Whether no apply is remembered, and nothing of ours is in this namespace."""
    from ..kernel.drivers import installed_drivers
    from ..kernel.remember import recall

    return recall(directory) is None and not installed_drivers("", directory)


def _without(dataplane: Dataplane, names: set[str]) -> Dataplane:
    """`dataplane` less the Services with these ``namespace/name`` keys."""
    ports = tuple([p for p in dataplane.ports if p.name.partition(":")[0] not in names])
    checks = tuple([c for c in dataplane.health_checks if f"{c.namespace}/{c.service}" not in names])
    return msgspec.structs.replace(dataplane, ports=ports, health_checks=checks)


def _delete_everything(request: options.Request, directory: Path, output: str, dry_run: str) -> None:
    from ..ir.model import Dataplane
    from ..ir.node import Compat, NodeFacts, Settings
    from ..kernel.drivers import driver_for, installed_drivers
    from ..kernel.node import NodeResources
    from ..kernel.remember import forget, recall
    from .session import Session

    nothing = Dataplane(NodeFacts(), Settings(compat=Compat.of("iptables")), ())
    progress = Progress()
    if request.mode:
        drivers = [driver_for(request.mode, request.iptables_backend, directory)]
        left = installed_drivers(drivers[0].name, directory)
    else:
        drivers, left = installed_drivers("", directory) or [driver_for("nftables")], []
    session = Session(request, drivers[0], drivers[1:], NodeResources(directory))
    plan = session.plan(nothing, (), progress, keep_connections=False)
    if left:  # another mode's rules stay, and need the sysctls and the health checks
        plan = msgspec.structs.replace(plan, node=())
    if dry_run != "none":
        _show(session, plan, output, dry_run, progress)
        return
    if not plan.empty:
        told = session.commit(plan, nothing, progress, keep_connections=False)
        plan = msgspec.structs.replace(plan, warnings=plan.warnings + told)
        warn(told)
    applied = recall(directory)
    if not left or (applied is not None and applied.mode == session.driver.name):
        forget(directory)
    progress.done()
    _report(session, plan, output)


def _show(session: Session, plan: Plan, output: str, dry_run: str, progress: Progress) -> None:
    """What would be done; --dry-run=kernel asks the kernel too."""
    if dry_run == "kernel":
        session.driver.check(plan.scripts, session.desired)
    progress.done()
    print_plan(session, plan, output)


def _report_nothing(output: str) -> None:
    if output == "text":
        echo([_NOTHING])
    else:
        counts = dict.fromkeys(("create", "update", "delete"), 0)
        print_data({"mode": "", "summary": counts, "removesModes": [], "warnings": [], "changes": [], "applied": False}, output)


def _report(session: Session, plan: Plan, output: str) -> None:
    from ..plan.render import plan_data

    if output != "text":
        print_data({**plan_data(plan, session.driver.target, with_script=False), "applied": not plan.empty}, output)
    else:
        echo([_NOTHING if plan.empty else f"Deleted, {headline(plan)}."])
