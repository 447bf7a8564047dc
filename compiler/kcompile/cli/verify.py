"""``kcompile verify``: whether rules do what the manifests say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import Progress, echo, print_data, table

if TYPE_CHECKING:
    from ..engine.verify import Report

__all__ = ["command"]

_SHOWN = 50  # differences in the text


@click.command(
    "verify",
    epilog="Examples:\n\n  kcompile verify -f manifests/\n\n"
    "  kcompile verify -f cluster.json --node node-a --live --owner kube-proxy",
)
@click.option("--live", is_flag=True, help="Check the rules in this node's kernel, whoever wrote them.")
@click.option(
    "--owner",
    type=click.Choice(["kcompile", "kube-proxy"]),
    default="kcompile",
    help="With --live: whose rules may be stale. Default: kcompile.",
)
@options.specs
@options.output
def command(live: bool, owner: str, output: str, **shared: Any) -> None:
    """Trace a packet from each kind of client to each address and port of every Service, and compare what
    becomes of it with what the manifests say: in every mode, or with --live in this node's kernel.

    Sends nothing and changes nothing. Exit status: 1 if there is a difference.
    """
    from ..engine.cluster import complete_input
    from ..engine.compile import compile_cluster
    from ..engine.request import Request, allocations_path
    from ..engine.verify import verify_live, verify_modes
    from ..kernel import netns
    from ..kernel.places import run_directory
    from .reading import read_once

    request = Request(**shared)
    progress = Progress()
    given = read_once(request, progress, on_node=False)
    progress("compiling")
    cluster = complete_input(given, request, allocations_path(request))
    progress("tracing")
    if live:
        with netns.entered(request.netns):
            compiled = compile_cluster(cluster, request, on_node=True)
            report = verify_live(compiled, run_directory(), owner)
    else:
        report = verify_modes(compile_cluster(cluster, request), request)
    progress.done()
    for problem in report.unread:
        click.echo(f"warning: not read: {problem}", err=True)
    if output == "text":
        echo(_lines(report))
    else:
        data = {"apiVersion": "kcompile.dev/v1alpha1", "kind": "Verification", **msgspec.to_builtins(report)}
        print_data(data, output)
    if report.differences:
        raise SystemExit(1)


def _lines(report: Report) -> list[str]:
    found = report.differences
    counted = f"{report.packets:,} packets traced"
    if not found:
        return [f"{counted}: the rules do what the manifests say."]
    rows = [(d.kind, d.where, d.service, d.frontend, d.client, d.expected, d.found) for d in found[:_SHOWN]]
    header = ("KIND", "WHERE", "SERVICE", "FRONTEND", "FROM", "MANIFESTS", "RULES")
    lines = [f"{counted}: {len(found):,} differences.", "", *table(header, rows)]
    if len(found) > _SHOWN:
        lines.append(f"... and {len(found) - _SHOWN:,} more (-o json shows all)")
    return lines
