"""``kcompile delete``: take what is ours off the node; with -f only the Services in those files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..errors import InputError
from . import options
from .console import Progress, echo, print_data, warn
from .plan import headline, print_plan

if TYPE_CHECKING:
    from pathlib import Path

    from ..ir.model import Dataplane

__all__ = ["command"]


@click.command("delete")
@options.specs
@options.output
@options.dry_run
def command(output: str, dry_run: str, **shared: Any) -> None:
    """Remove kcompile's rules from this node, every mode's unless --mode names one, and put sysctls back.

    With -f only the Services in those manifests go; the others stay as they were last applied.
    """
    request = options.Request(**shared)
    from .session import Session

    with Session.at(request) as directory:
        if request.files:
            _delete_services(request, directory, output, dry_run)
        else:
            _delete_everything(request, directory, output, dry_run)


def _delete_services(request: options.Request, directory: Path, output: str, dry_run: str) -> None:
    from ..kernel.remember import recall, remember
    from ..spec.load import load
    from .session import Session

    applied = recall(directory)
    if applied is None:
        raise InputError("delete -f: nothing is remembered of an earlier apply on this node; apply the remaining manifests instead")
    names = {service.key for service in load(request.files, max_bytes=request.max_input_bytes).services}
    rest = _without(applied.dataplane, names)
    progress = Progress()
    session = Session.open(request, applied.mode, directory)
    plan = session.plan(rest, (), progress)
    _finish(session, plan, rest, output, dry_run, progress, keep_connections=True)
    if dry_run == "none":
        remember(directory, applied.mode, rest)


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
    plan = session.plan(nothing, (), progress)
    if left:  # another mode's rules stay, and need the sysctls and the health checks
        plan = msgspec.structs.replace(plan, node=())
    _finish(session, plan, nothing, output, dry_run, progress, keep_connections=False)
    applied = recall(directory)
    if dry_run == "none" and (not left or (applied is not None and applied.mode == session.driver.name)):
        forget(directory)


def _finish(
    session: Any, plan: Any, dataplane: Dataplane, output: str, dry_run: str, progress: Progress, *, keep_connections: bool
) -> None:
    from ..plan.render import plan_data

    if dry_run != "none":
        if dry_run == "kernel":
            session.driver.check(plan.scripts, session.desired)
        progress.done()
        print_plan(session, plan, output)
        return
    if not plan.empty:
        warn(session.commit(plan, dataplane, progress, keep_connections=keep_connections))
    progress.done()
    if output != "text":
        print_data({**plan_data(plan, session.driver.target, with_script=False), "applied": not plan.empty}, output)
    else:
        echo(["Nothing to delete." if plan.empty else f"Deleted, {headline(plan)}."])
