"""``kcompile compile``: print the rules as text or data. Changes nothing."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .console import Progress, print_data, warn

__all__ = ["command"]

_TOOLS = {"ip4": "iptables-restore --noflush", "ip6": "ip6tables-restore --noflush"}


@click.command("compile")
@options.specs
@options.output
@options.dry_run
def command(output: str, dry_run: str, **shared: Any) -> None:
    """Print the rules that the manifests compile to.

    The text is input for `nft -f` or `iptables-restore --noflush` on a node without rules; json and yaml list
    the resources.
    """
    from ..engine.cluster import complete_input
    from ..engine.compile import compile_cluster
    from ..engine.request import Request, allocations_path
    from ..plans.render import plan_data
    from .reading import read_once

    request = Request(**shared)
    progress = Progress()
    given = read_once(request, progress, on_node=False)
    progress("compiling")
    compiled = compile_cluster(complete_input(given, request, allocations_path(request)), request)
    progress("lowering")
    target, plan = compiled.alone()
    progress.done()
    warn(compiled.warnings, every=request.verbose)
    if dry_run == "kernel":
        from ..kernel import netns
        from ..kernel.places import run_directory

        with netns.entered(request.netns):
            compiled.mode.driver(run_directory(), request.iptables_backend).check(plan.rules)
    if output != "text":
        data = plan_data(plan, target, with_script=False)
        resources = [
            {"resource": c["resource"], "value": c["new"], "text": c["text"]} for c in data["changes"]
        ]
        warnings = [notice.data() for notice in compiled.warnings]
        print_data({"mode": plan.mode, "resources": resources, "warnings": warnings}, output)
        return
    for change in plan.node:
        kind, name = change.key.parts
        click.echo(f"# {kind} {name} = {change.new}" if kind != "health" else f"# health check port {name}")
    for label, script in target.scripts(plan.rules).items():
        if label != "nft":
            click.echo(f"# {_TOOLS.get(label, label)}")
        click.echo(script, nl=False)
