"""``kcompile get``: Services, endpoints, rules and connections, read from the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import echo, print_data, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..kernel.drivers import Driver
    from ..targets.base import FrontendView

__all__ = ["command"]


@click.command("get")
@click.argument("what", type=click.Choice(["services", "endpoints", "rules", "connections"]))
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="PATH",
    help="Show only the Services in these manifests.",
)
@options.place
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json", "yaml"]),
    default="text",
    help="Output format.",
)
def command(what: str, output: str, files: tuple[str, ...], **shared: Any) -> None:
    """Show the Services, endpoints or rules that are in this node's kernel, of all modes or the one that
    --mode names.

    `connections` lists those of mode xdp. For the other modes use `conntrack -L` or `ipvsadm -Lc`.
    """
    from ..engine.request import Request
    from ..kernel import netns
    from ..kernel.drivers import Installed, installed
    from ..kernel.places import run_directory
    from ..modes import mode_of

    request = Request(files=files, **shared)
    wanted = _services_of(files) if files else None
    with netns.entered(request.netns):
        directory = run_directory()
        if request.mode:
            driver = mode_of(request.mode).driver(directory, request.iptables_backend)
            found = [Installed(driver, driver.observe())]
        else:
            found = installed("", directory)
        if what == "rules":
            _rules([driver for driver, _ in found], output)
            return
        if what == "connections":
            _connections([driver for driver, _ in found], wanted, output)
            return
        views = [(driver.name, view) for driver, held in found for view in driver.target.frontends(held)]
    if wanted is not None:
        views = [(mode, v) for mode, v in views if v.service.partition(":")[0] in wanted]
    if what == "services":
        _services(views, output)
    else:
        _print_endpoints(views, output)


def _services_of(files: Sequence[str]) -> set[str]:
    """The Services of the manifests, as ``namespace/name``."""
    from ..spec.load import load

    return {service.key for service in load(files).services}


def _rules(drivers: Sequence[Driver], output: str) -> None:
    listings = {driver.name: driver.listing() for driver in drivers}
    if output in ("json", "yaml"):
        print_data(listings, output)
    else:
        echo(text.rstrip("\n") for text in listings.values() if text)


def _services(views: list[tuple[str, FrontendView]], output: str) -> None:
    if output in ("json", "yaml"):
        print_data([{"mode": mode, **msgspec.to_builtins(v)} for mode, v in views], output)
    elif not views:
        click.echo("No resources found.", err=True)
    else:
        echo(_service_table(views, output == "wide"))


def _print_endpoints(views: list[tuple[str, FrontendView]], output: str) -> None:
    if output in ("json", "yaml"):
        print_data(_endpoints(views), output)
    elif not views:
        click.echo("No resources found.", err=True)
    else:
        echo(_endpoint_table(views))


def _connections(drivers: Sequence[Driver], wanted: set[str] | None, output: str) -> None:
    from ..kernel.drivers import XdpDriver

    tracking = [driver for driver in drivers if isinstance(driver, XdpDriver)]
    found = [c for driver in tracking for c in driver.connections()]
    if wanted is not None:
        found = [c for c in found if c.service.partition(":")[0] in wanted]
    if output in ("json", "yaml"):
        print_data([msgspec.to_builtins(c) for c in found], output)
    elif not found:
        click.echo("No resources found.", err=True)
    else:
        header = ("SERVICE", "PROTOCOL", "CLIENT", "FRONTEND", "ENDPOINT", "MASQUERADED", "IDLE")
        rows: list[tuple[str, ...]] = []
        for c in found:
            masqueraded = "yes" if c.masqueraded else "no"
            rows.append(
                (c.service, c.protocol, c.client, c.frontend, c.endpoint, masqueraded, f"{c.age:.0f}s")
            )
        echo(table(header, rows))


def _service_table(views: list[tuple[str, FrontendView]], wide: bool) -> list[str]:
    header: tuple[str, ...] = ("SERVICE", "KIND", "ADDRESS", "PORT", "BACKENDS", "MODE")
    rows: list[tuple[str, ...]] = []
    for mode, v in views:
        count = str(len(v.backends)) if v.verdict == "dnat" else v.verdict
        row: tuple[str, ...] = (v.service, v.kind, v.address, f"{v.port}/{v.protocol}", count, mode)
        if wide:
            affinity = f"{v.affinity_seconds}s" if v.affinity_seconds else "<none>"
            draining = [f"{backend} (draining)" for backend in v.draining]
            row = (*row, affinity, ",".join((*v.backends, *draining)) or "<none>")
        rows.append(row)
    return table((*header, "AFFINITY", "ENDPOINTS") if wide else header, rows)


def _endpoints(views: list[tuple[str, FrontendView]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, int, str], set[str]] = {}
    for _, v in views:
        found.setdefault((v.service, v.family, v.protocol), set()).update(v.backends)
    return [
        {"service": s, "family": f, "protocol": p, "endpoints": sorted(b)}
        for (s, f, p), b in sorted(found.items())
    ]


def _endpoint_table(views: list[tuple[str, FrontendView]]) -> list[str]:
    rows = [
        (e["service"], f"IPv{e['family']}", e["protocol"], ",".join(e["endpoints"]) or "<none>")
        for e in _endpoints(views)
    ]
    return table(("SERVICE", "FAMILY", "PROTOCOL", "ENDPOINTS"), rows)
