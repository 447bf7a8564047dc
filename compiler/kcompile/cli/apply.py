"""``kcompile apply``: make the node's rules what the specs say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import Progress, echo, print_data, warn
from .migration import retiring
from .plan import headline, print_plan

if TYPE_CHECKING:
    from pathlib import Path

    from ..notices import Notice
    from ..plan import Plan
    from .session import Prepared

__all__ = ["command"]

# Frontends named in apply's own report; plan names them all.
_SHOWN = 20


@click.command("apply")
@options.specs
@options.output
@options.dry_run
@options.yes
def command(output: str, dry_run: str, yes: bool, **shared: Any) -> None:
    """Make this node's rules what the specs say: all of them or none, and nothing where nothing changed.

    The specs are the whole truth: rules of Services that they no longer name are removed. Specs without any Service are refused
    (--allow-empty), and on a terminal there is a question before most Services go (--yes).
    """
    from .confirm import ask, must_ask
    from .session import Prepared, Session
    from .specs import read_specs

    request = options.Request(**shared)
    progress = Progress()
    started = time.monotonic()
    told: tuple[Notice, ...] = ()
    specs = read_specs(request, progress, on_node=True)
    with Session.at(request) as directory:
        ready = Prepared.make(request, specs, directory, progress)
        if ready.compiled.mode == "ipvs" and (ready.applied is None or ready.applied.mode != "ipvs"):
            told = request.heard([retiring(click.get_current_context())])
        warn((*ready.plan.warnings, *told), every=request.verbose)
        if dry_run != "none":
            if dry_run == "kernel":
                ready.session.driver.check(ready.plan.scripts, ready.session.desired)
            progress.done()
            print_plan(ready.session, _saying(ready.plan, told), output)
            return
        removal = ready.session.removal(ready.plan, ready.compiled.dataplane)
        progress.done()
        unanswered = must_ask(removal, yes=yes)
        if not unanswered:
            told += _commit(ready, directory, progress)
    if unanswered:  # without the lock: others don't wait for a person
        asked = time.monotonic()
        ask(removal)
        started += time.monotonic() - asked
        with Session.at(request) as directory:
            ready = ready.again(directory, progress)
            told += _commit(ready, directory, progress)
    progress.done()
    _report(ready, _saying(ready.plan, told), output, time.monotonic() - started)


def _saying(plan: Plan, told: tuple[Notice, ...]) -> Plan:
    """`plan` with the warnings that aren't its own."""
    return msgspec.structs.replace(plan, warnings=plan.warnings + told)


def _commit(ready: Prepared, directory: Path, progress: Progress) -> tuple[Notice, ...]:
    """Write everything, the allocations first; the warnings of that. Under the lock."""
    from ..kernel.remember import remember

    ready.compiled.keep_allocations()
    told: tuple[Notice, ...] = ()
    with remember(directory, ready.session.driver.name, ready.compiled.dataplane) as applied:
        if ready.plan.empty:
            applied.commit()
        else:
            told = ready.session.commit(ready.plan, ready.compiled.dataplane, progress, then=applied.commit)
            warn(told, every=ready.session.request.verbose)
    return told


def _report(ready: Prepared, plan: Plan, output: str, seconds: float) -> None:
    from ..plan.render import plan_data, service_lines

    target = ready.session.driver.target
    if output != "text":
        print_data({**plan_data(plan, target, with_script=False), "applied": not plan.empty, "seconds": round(seconds, 3)}, output)
    elif plan.empty:
        echo([f"No changes: this node is as the specs say (mode {plan.mode})."])
    else:
        changes = service_lines(ready.session.service_changes(), limit=_SHOWN)
        echo([*changes, f"Applied, {headline(plan)} ({seconds:.2f} s)."])
