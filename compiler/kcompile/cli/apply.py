"""``kcompile apply``: make the node's rules what the specs say."""

from __future__ import annotations

import time
from typing import Any

import click

from . import options
from .console import Progress, echo, print_data, warn
from .migration import retiring
from .plan import headline, print_plan

__all__ = ["command"]

# Frontends named in apply's own report; plan names them all.
_SHOWN = 20


@click.command("apply")
@options.specs
@options.output
@options.dry_run
def command(output: str, dry_run: str, **shared: Any) -> None:
    """Make this node's rules what the specs say: all of them or none, and nothing where nothing changed.

    The specs are the whole truth: rules of Services that they no longer name are removed.
    """
    from ..kernel.remember import recall, remember
    from ..plan import service_changes
    from ..plan.render import plan_data, service_lines
    from .session import Session, compile_request

    request = options.Request(**shared)
    progress = Progress()
    started = time.monotonic()
    with Session.at(request) as directory:
        applied = recall(directory)
        compiled = compile_request(request, progress, on_node=True, default_mode=applied.mode if applied else None)
        session = Session.open(request, compiled.mode, directory)
        plan = session.plan(compiled.dataplane, compiled.warnings, progress)
        warn(plan.warnings)
        if compiled.mode == "ipvs" and (applied is None or applied.mode != "ipvs"):
            warn([retiring(click.get_current_context())])
        if dry_run != "none":
            if dry_run == "kernel":
                session.driver.check(plan.scripts, session.desired)
            progress.done()
            print_plan(session, plan, output)
            return
        compiled.keep_allocations()
        if not plan.empty:
            warn(session.commit(plan, compiled.dataplane, progress))
        remember(directory, session.driver.name, compiled.dataplane)
        progress.done()
    seconds = time.monotonic() - started
    target = session.driver.target
    if output != "text":
        print_data({**plan_data(plan, target, with_script=False), "applied": not plan.empty, "seconds": round(seconds, 3)}, output)
    elif plan.empty:
        echo([f"No changes: this node is as the specs say (mode {plan.mode})."])
    else:
        changes = service_changes(target, session.observed, session.desired)
        echo([*service_lines(changes, limit=_SHOWN), f"Applied, {headline(plan)} ({seconds:.2f} s)."])
