"""``kcompile status``: what the agent of this node has programmed, and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from . import options
from .console import echo, print_data, table

if TYPE_CHECKING:
    from ..agent.serve.status import AgentStatus, Followed, ServiceStatus

__all__ = ["command"]


@click.command("status")
@click.option("-n", "--namespace", metavar="NAMESPACE", help="Show only the Services of this namespace.")
@click.option(
    "--netns", metavar="NAME", help="Ask the agent of this network namespace (a name of `ip netns list`)."
)
@options.output
def command(namespace: str | None, netns: str | None, output: str) -> None:
    """Show what the agent (kcompile run) has programmed for each Service, since when, how long the last
    change took, and the last error.

    Exit status: 1 if no agent runs, or it doesn't keep up with changes, else 0.
    """
    import msgspec

    from ..agent.serve.status import AgentStatus, ProgrammedServiceList
    from ..agent.serve.unix import ask
    from ..kernel import netns as namespaces
    from ..kernel.places import run_directory

    with namespaces.entered(netns):
        directory = run_directory()
    status = ask(directory, "/status", AgentStatus)
    items = ask(directory, "/debug/programmed", ProgrammedServiceList).items
    if namespace:
        items = tuple([item for item in items if item.service.startswith(f"{namespace}/")])
    if output == "text":
        now = datetime.now(UTC)
        echo([*_agent_lines(status, now), "", *_service_table(items, now)])
    else:
        print_data({"agent": msgspec.to_builtins(status), "services": msgspec.to_builtins(items)}, output)
    if not status.healthy:
        raise SystemExit(1)


def _agent_lines(status: AgentStatus, now: datetime) -> list[str]:
    """The agent in a few lines; those about trouble only where there is some."""
    lines = [
        f"Agent: mode {status.mode}, pid {status.pid}, {_state(status)}, up {_span(status.uptime_seconds)}"
    ]
    if sync := status.last_sync:
        what = "full" if sync.full else _count(sync.services, "Service")
        took = f"{what}, {_count(sync.changes, 'change')} in {_span(sync.seconds)}"
        lines.append(f"Last sync: {_ago(sync.at, now)} ({took})")
    states = [f"{source.kind} {source.state}" for source in status.sources]
    lines.append(f"Sources: {', '.join(states) or '<none>'}")
    lines += [_failing(source, now) for source in status.sources if source.state == "failing"]
    if status.pending_seconds:
        lines.append(f"Pending: the oldest change has waited for {_span(status.pending_seconds)}")
    if failing := status.failing:
        lines.append(f"Last error: {_ago(failing.at, now)}: {failing.error}")
    if drift := status.drift:
        examples = ", ".join(drift.examples)
        lines.append(
            f"Drift: {_count(drift.resources, 'resource')} repaired, last {_ago(drift.at, now)}: {examples}"
        )
    return lines


def _state(status: AgentStatus) -> str:
    if not status.ready:
        return "starting"
    if not status.healthy:
        return "behind"
    return "up to date" if status.node_eligible else "up to date, node is being deleted"


def _failing(source: Followed, now: datetime) -> str:
    return f"{source.kind}: failing for {_span((now - source.since).total_seconds())}: {source.error}"


def _service_table(items: Sequence[ServiceStatus], now: datetime) -> list[str]:
    header = ("SERVICE", "FRONTENDS", "ENDPOINTS", "PROGRAMMED", "LAG", "PENDING", "ERROR")
    rows = [_row(item, now) for item in items]
    return table(header, rows) if rows else ["No resources found."]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _row(item: ServiceStatus, now: datetime) -> tuple[str, ...]:
    return (
        item.service,
        str(item.frontends),
        str(item.endpoints),
        _ago(item.programmed_at, now) if item.programmed_at else "never",
        _span(item.lag_seconds) if item.programmed_at else "<none>",
        _span(item.pending_seconds) if item.pending_seconds else "<none>",
        item.error or "<none>",
    )


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_span((now - moment).total_seconds())} ago"


def _span(seconds: float) -> str:
    """A span as kubectl writes an age: 4ms, 12s, 5m, 3h, 2d."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"
