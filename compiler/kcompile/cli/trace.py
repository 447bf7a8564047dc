"""``kcompile trace``: what becomes of a packet, rule by rule, without sending one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..modes import MODES
from . import options
from .console import Progress, echo, print_data, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.compile import Compiled
    from ..engine.request import Request
    from ..engine.trace import Journey, Question, Way

__all__ = ["command"]


@click.command(
    "trace",
    epilog="Examples:\n\n  kcompile trace outside 192.0.2.10:30004 -f manifests/\n\n"
    "  kcompile trace node shop/web:80 -f manifests/ --live",
)
@click.argument("source", metavar="FROM")
@click.argument("to", metavar="TO:PORT")
@click.option(
    "--proto", "protocol", type=click.Choice(["tcp", "udp", "sctp"]), default="tcp", help="Default: tcp."
)
@click.option("--all-modes", is_flag=True, help="Trace it in every mode, and show where they differ.")
@click.option("--live", is_flag=True, help="Through all rules of this node's kernel, whoever wrote them.")
@options.specs
@options.output
def command(
    source: str, to: str, protocol: str, all_modes: bool, live: bool, output: str, **shared: Any
) -> None:
    """Trace the first packet of a connection through the rules that the manifests compile to, or with --live
    through those of this node's kernel.

    FROM is `outside`, `node`, an address, or a Pod of the manifests as NAMESPACE/NAME. TO is an address or a
    Service of the manifests. Exit status: 1 if the packet doesn't arrive.
    """
    from ..engine.request import Request
    from ..engine.trace import question

    request = Request(**shared)
    progress = Progress()
    compiled = _compiled(request, progress) if request.reads or not live else None
    asked = question(source, to, protocol, compiled.cluster.inventory if compiled else None)
    progress("tracing")
    if live:
        journeys, unread = _live(request, asked, compiled)
    else:
        assert compiled is not None
        journeys, unread = _in_modes(compiled, request, asked, all_modes), []
    progress.done()
    for problem in unread:
        click.echo(f"warning: not read: {problem}", err=True)
    _show(journeys, output)
    if not all(journey.arrives for journey in journeys):
        raise SystemExit(1)


def _compiled(request: Request, progress: Progress) -> Compiled:
    from ..engine.cluster import complete_input
    from ..engine.compile import compile_cluster
    from ..engine.request import allocations_path
    from .reading import read_once

    given = read_once(request, progress, on_node=False)
    progress("compiling")
    return compile_cluster(complete_input(given, request, allocations_path(request)), request)


def _in_modes(compiled: Compiled, request: Request, asked: Question, all_modes: bool) -> list[Journey]:
    """The journey in the mode that is asked for, or in every one."""
    from ..engine.compile import compile_cluster
    from ..engine.trace import trace_specs

    if not all_modes:
        return [trace_specs(compiled, asked)]
    journeys = []
    for mode in (name for name in MODES if f"{name}-nft" not in MODES):  # not the one that picks a variant
        cluster = msgspec.structs.replace(
            compiled.cluster, config=msgspec.structs.replace(compiled.cluster.config, mode=mode)
        )
        journeys.append(trace_specs(compile_cluster(cluster, request), asked))
    return journeys


def _live(request: Request, asked: Question, compiled: Compiled | None) -> tuple[list[Journey], list[str]]:
    from ..engine.trace import names_of, trace_live
    from ..kernel import netns
    from ..kernel.places import run_directory

    with netns.entered(request.netns):
        journey, unread = trace_live(run_directory(), asked, names_of(compiled) if compiled else {})
    return [journey], unread


def _show(journeys: Sequence[Journey], output: str) -> None:
    if output != "text":
        items = [msgspec.to_builtins(journey) for journey in journeys]
        print_data({"apiVersion": "kcompile.dev/v1alpha1", "kind": "Trace", "items": items}, output)
        return
    if len(journeys) > 1:
        echo(_compared(journeys))
        return
    echo(_lines(journeys[0]))


def _lines(journey: Journey) -> list[str]:
    """The walk as a person reads it: the rules that all ways share once, then each way's own."""
    place = f"comes in by {journey.interface}" if journey.interface else "is this node's own"
    rules = "the kernel's rules" if journey.mode == "live" else f"mode {journey.mode}"
    lines = [f"{journey.packet}  {place}; {rules}", ""]
    shared = _shared(journey)
    rows = [(step.chain, step.rule) for step in journey.ways[0].steps[:shared]] if journey.ways else []
    lines += [f"  {line}" for line in table(("CHAIN", "RULE"), rows)] if rows else ["  no rule matches"]
    lines.append("")
    for way in journey.ways:
        lines.append(_end_line(way))
        lines += [f"         {step.chain}: {step.rule}" for step in way.steps[shared:]]
    if journey.cause:
        lines += ["", f"It doesn't arrive: {journey.cause.reason}."]
        lines += [f"  {journey.cause.evidence}"] if journey.cause.evidence else []
        lines += [f"  Fix: {journey.cause.fix}"] if journey.cause.fix else []
    return lines


def _shared(journey: Journey) -> int:
    """How many steps all ways begin with."""
    first, *others = [way.steps for way in journey.ways] or [()]
    count = 0
    while count < len(first) and all(
        steps[count : count + 1] == first[count : count + 1] for steps in others
    ):
        count += 1
    return count


def _end_line(way: Way) -> str:
    masqueraded = ", masqueraded" if way.masqueraded else ""
    name = f"  ({way.name})" if way.name else ""
    to = "to" if way.end in ("sent", "delivered") else "on the way to"
    return f"{way.probability:6.1%}  {way.end} {to} {way.destination}{masqueraded}{name}"


def _compared(journeys: Sequence[Journey]) -> list[str]:
    """A line a mode, and whether they agree."""
    rows = [(journey.mode, *_outcome(journey)) for journey in journeys]
    agree = len({row[1:] for row in rows}) == 1
    return [
        journeys[0].packet,
        "",
        *table(("MODE", "END", "DESTINATIONS", "MASQUERADED"), rows),
        "",
        "All modes agree." if agree else "The modes differ.",
    ]


def _outcome(journey: Journey) -> tuple[str, str, str]:
    ends = ",".join(sorted({way.end for way in journey.ways}))
    places = ",".join(sorted({way.destination for way in journey.ways}))
    masqueraded = ",".join(sorted({"yes" if way.masqueraded else "no" for way in journey.ways}))
    return ends, places, masqueraded
