"""``kcompile apply``: make the node's rules match the manifests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import Progress, echo, print_data, warn
from .migration import retiring
from .plan import NO_CHANGES, print_plan

if TYPE_CHECKING:
    from ..engine.apply import Prepared
    from ..notices import Notice
    from ..plans import Plan

__all__ = ["command"]

# Frontends named in apply's own report; plan names them all.
_SHOWN = 20


@click.command("apply")
@options.specs
@options.output
@options.dry_run
@options.yes
def command(output: str, dry_run: str, yes: bool, **shared: Any) -> None:
    """Make this node's rules match the manifests. All changes are made, or none.

    The manifests are the complete list of Services: apply removes the rules of any other Service. It refuses
    input without a Service (unless --allow-empty), and asks on a terminal before it removes more than half of
    10 or more Services (unless --yes).
    """
    from ..engine.apply import prepare
    from ..engine.request import Request
    from ..engine.session import at_node
    from .confirm import ask, must_ask
    from .reading import read_unless_known

    request = Request(**shared)
    progress = Progress()
    started = time.monotonic()
    said: tuple[Notice, ...] = ()
    given = read_unless_known(request, progress)
    with at_node(request) as directory:
        ready = prepare(request, given, directory, progress)
        if ready.begins_retiring_mode:
            said = request.heard([retiring(click.get_current_context())])
        warn((*ready.plan.warnings, *said), every=request.verbose)
        if dry_run != "none":
            if dry_run == "kernel":
                ready.session.driver.check(ready.plan.rules)
            progress.done()
            print_plan(ready.session, _saying(ready.plan, said), output)
            return
        removal = ready.removal
        progress.done()
        unanswered = must_ask(removal, yes=yes)
        if not unanswered:
            said += _finish(ready, directory, progress)
    if unanswered:  # without the lock: others don't wait for a person
        asked = time.monotonic()
        ask(removal)
        started += time.monotonic() - asked
        with at_node(request) as directory:
            ready = ready.again(directory, progress)
            said += _finish(ready, directory, progress)
    progress.done()
    _report(ready, _saying(ready.plan, said), output, time.monotonic() - started)


def _saying(plan: Plan, said: tuple[Notice, ...]) -> Plan:
    """`plan` with the warnings that aren't its own."""
    return msgspec.structs.replace(plan, warnings=plan.warnings + said)


def _finish(ready: Prepared, directory: Any, progress: Progress) -> tuple[Notice, ...]:
    """Write everything, and print the warnings of that."""
    said = ready.finish(directory, progress)
    progress.done()
    warn(said, every=ready.session.request.verbose)
    return said


def _report(ready: Prepared, plan: Plan, output: str, seconds: float) -> None:
    from ..plans.render import done_line, plan_data, service_lines

    target = ready.session.driver.target
    if output != "text":
        print_data(
            {
                **plan_data(plan, target, with_script=False),
                "applied": not plan.empty,
                "seconds": round(seconds, 3),
            },
            output,
        )
    elif plan.empty:
        echo([NO_CHANGES])
    else:
        changes = service_lines(ready.session.service_changes(), limit=_SHOWN)
        echo([*changes, done_line("Applied", plan, seconds)])
