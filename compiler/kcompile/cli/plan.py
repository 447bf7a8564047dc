"""``kcompile plan`` and ``kcompile diff``: the changes that apply would make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import KcompileError
from . import options
from .console import Progress, echo, print_data, warn

if TYPE_CHECKING:
    from ..engine.request import Request
    from ..engine.session import Session
    from ..plans import Plan

__all__ = ["NO_CHANGES", "command", "diff_command", "print_plan"]

NO_CHANGES = "No changes. The node matches the manifests."


def prepared(request: Request, progress: Progress) -> tuple[Session, Plan]:
    """The session and plan of one read-only command; the namespace has been left again."""
    from ..engine.apply import prepare
    from ..engine.session import at_node
    from .reading import read_unless_known

    given = read_unless_known(request, progress)
    with at_node(request, only_reads=True) as directory:
        ready = prepare(request, given, directory, progress)
        return ready.session, ready.plan


def print_plan(session: Session, plan: Plan, output: str) -> None:
    """The whole plan on stdout."""
    from ..plans.render import change_lines, plan_data, plan_line, service_lines

    target = session.driver.target
    if output != "text":
        print_data(plan_data(plan, target), output)
        return
    if plan.empty:
        echo([NO_CHANGES])
        return
    lines = [plan_line(plan), ""]
    services = service_lines(session.service_changes())
    if services:
        lines += ["Services:", *(f"  {line}" for line in services), ""]
    lines.append("Resources:")
    lines += [f"  {line}" for change in plan.changes for line in change_lines(target, change)]
    echo(lines)


@click.command("plan")
@options.specs
@options.output
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="Exit status: 0 no changes, 1 failed (also bad input), 2 changes.",
)
@options.dry_run
def command(output: str, detailed_exitcode: bool, dry_run: str, **shared: Any) -> None:
    """Show what apply would change on this node: Services first, then all resources."""
    from ..engine.request import Request
    from ..kernel import netns

    progress = Progress()
    try:
        request = Request(**shared)
        session, plan = prepared(request, progress)
        if dry_run == "kernel":
            with netns.entered(request.netns):
                session.driver.check(plan.rules)
    except KcompileError as e:
        if not detailed_exitcode:
            raise
        click.echo(f"kcompile: {e}", err=True)
        raise SystemExit(1) from None
    finally:
        progress.done()
    warn(plan.warnings, every=session.request.verbose)
    print_plan(session, plan, output)
    if detailed_exitcode and not plan.empty:
        raise SystemExit(2)


@click.command("diff")
@options.specs
@options.output
@options.dry_run
def diff_command(output: str, dry_run: str, **shared: Any) -> None:  # noqa: ARG001
    """Compare this node with the manifests, as kubectl diff does.

    Exit status: 0 no difference, 1 differences, more than 1 failed.
    """
    from ..engine.request import Request
    from ..plans.render import change_lines, plan_data

    progress = Progress()
    try:
        session, plan = prepared(Request(**shared), progress)
    except KcompileError as e:
        click.echo(f"kcompile: {e}", err=True)
        raise SystemExit(max(e.exit_code, 2)) from None
    finally:
        progress.done()
    warn(plan.warnings, every=session.request.verbose)
    if output != "text":
        print_data(plan_data(plan, session.driver.target, with_script=False)["changes"], output)
    else:
        lines = [line for change in plan.changes for line in change_lines(session.driver.target, change)]
        echo([*lines, *(f"- all rules of mode {mode}" for mode in plan.other_modes)])
    if not plan.empty:
        raise SystemExit(1)
