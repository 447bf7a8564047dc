"""``kcompile delete``: remove kcompile's rules; with -f only the Services in those files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import Progress, echo, print_data, warn
from .plan import print_plan

if TYPE_CHECKING:
    from pathlib import Path

    from ..engine.remove import Emptying, Rest
    from ..engine.request import Request
    from ..engine.session import Session
    from ..plans import Plan

__all__ = ["command", "remove_all"]

_NOTHING = "Nothing to delete."


@click.command("delete")
@options.specs
@options.output
@options.dry_run
@options.yes
def command(output: str, dry_run: str, yes: bool, **shared: Any) -> None:
    """Remove kcompile's rules from this node and restore the sysctls that apply changed.

    All modes are removed, or the one that --mode names. With -f, only the Services in those manifests are
    removed; the others stay as they were last applied.
    """
    from ..engine.request import Request

    request = Request(**shared)
    if request.reads:
        _delete_services(request, output, dry_run, yes=yes)
    else:
        remove_all(request, output, dry_run)


def remove_all(request: Request, output: str = "text", dry_run: str = "none") -> None:
    """Remove every rule of ours, or those of the mode of `request`."""
    from ..engine.remove import Emptying
    from ..engine.session import at_node

    progress = Progress()
    with at_node(request) as directory:
        _finish(Emptying.make(request, directory, progress), directory, output, dry_run, progress)


def _delete_services(request: Request, output: str, dry_run: str, *, yes: bool) -> None:
    from ..engine.read import read_services
    from ..engine.remove import Rest, nothing_there
    from ..engine.session import at_node
    from .confirm import ask, must_ask

    names = read_services(request)
    progress = Progress()
    with at_node(request) as directory:
        if nothing_there(directory):
            progress.done()
            _report_nothing(output)
            return
        rest = Rest.make(request, names, directory, progress)
        removal = rest.removal
        progress.done()
        unanswered = dry_run == "none" and must_ask(removal, yes=yes)
        if not unanswered:
            _finish(rest, directory, output, dry_run, progress)
            return
    ask(removal)
    with at_node(request) as directory:
        _finish(rest.again(names, directory, progress), directory, output, dry_run, progress)


def _finish(change: Rest | Emptying, directory: Path, output: str, dry_run: str, progress: Progress) -> None:
    """Carry out the removal, or with --dry-run show it; under the lock."""
    session, plan = change.session, change.plan
    if dry_run != "none":
        if dry_run == "kernel":
            session.driver.check(plan.rules)
        progress.done()
        print_plan(session, plan, output)
        return
    said = change.finish(directory, progress)
    progress.done()
    warn(said)
    _report(session, msgspec.structs.replace(plan, warnings=plan.warnings + said), output)


def _report_nothing(output: str) -> None:
    if output == "text":
        echo([_NOTHING])
    else:
        counts = dict.fromkeys(("create", "update", "delete"), 0)
        print_data(
            {
                "mode": "",
                "summary": counts,
                "removesModes": [],
                "warnings": [],
                "changes": [],
                "applied": False,
            },
            output,
        )


def _report(session: Session, plan: Plan, output: str) -> None:
    from ..plans.render import done_line, plan_data

    if output != "text":
        print_data(
            {**plan_data(plan, session.driver.target, with_script=False), "applied": not plan.empty}, output
        )
    else:
        echo([_NOTHING if plan.empty else done_line("Deleted", plan)])
