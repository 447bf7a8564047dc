"""``kcompile dns``: the DNS records of the Services, as files or from a name server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import options
from .console import echo, print_data, warn

if TYPE_CHECKING:
    from ..dns.source import Manifests

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])


def _what(f: F) -> F:
    for option in (
        click.option(
            "--address",
            "servers",
            multiple=True,
            metavar="IP",
            help="IP of the name server, for its own record. Default: Service kube-system/kube-dns.",
        ),
        click.option(
            "--ttl",
            type=click.IntRange(0, 3600),
            default=5,
            help="TTL of the records in seconds (5).",
        ),
        options.service_ranges,
        options.configuration,
        click.option("--state", metavar="FILE", help="File with the allocated addresses; read only."),
        click.option(
            "--netns",
            metavar="NAME",
            help="Use the addresses that were allocated in this network namespace.",
        ),
        options.cluster_domain,
        click.option(
            "-f",
            "--filename",
            "files",
            multiple=True,
            required=True,
            metavar="PATH",
            help="Manifests, as for kcompile apply.",
        ),
        options.recursive,
    ):
        f = option(f)
    return f


@click.group("dns")
def command() -> None:
    """The Kubernetes DNS records of Services and their endpoints, as files or from a name server."""


@command.command("render")
@_what
@click.option(
    "-o",
    "--output",
    type=click.Choice(["zone", "hosts", "corefile", "json"]),
    default="zone",
    help="Output format.",
)
@click.option(
    "--zone", "only", metavar="NAME", help="Print only this zone. Default: all three, each with its $ORIGIN."
)
@click.option(
    "--directory",
    default="/etc/coredns",
    metavar="DIR",
    help="Directory of the zone files, for the Corefile (/etc/coredns).",
)
def render(output: str, only: str | None, directory: str, **shared: Any) -> None:
    """Print the records: zone files, lines for /etc/hosts, a Corefile for CoreDNS, or JSON."""
    from ..dns import render as form
    from ..errors import ConfigError

    records = _source(**shared).load()
    if output == "json":
        print_data(form.json_data(records), "json")
    elif output == "hosts":
        echo(form.hosts(records))
    elif output == "corefile":
        echo(form.corefile(records, directory))
    else:
        wanted = [only.strip(".").lower() + "."] if only else list(records.zones)
        if unknown := set(wanted).difference(records.zones):
            zones = ", ".join(zone.rstrip(".") for zone in records.zones)
            raise ConfigError(f"--zone {unknown.pop().rstrip('.')}: the zones are {zones}")
        for zone in wanted:
            echo(form.zone(records, zone))


@command.command("serve")
@_what
@click.option(
    "--listen",
    multiple=True,
    default=("127.0.0.1",),
    metavar="IP",
    help="Address to listen on (127.0.0.1). May be repeated.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=53, help="UDP and TCP port (53).")
def serve(listen: tuple[str, ...], port: int, **shared: Any) -> None:
    """Serve the records over UDP and TCP until stopped; re-read the manifests when they change.

    Queries for other names are refused (no forwarding). If changed manifests are invalid, the server warns
    and keeps serving the last valid ones.
    """
    import asyncio
    import ipaddress

    from ..dns.serve import Server
    from ..dns.serve import serve as run
    from ..errors import ConfigError
    from ..kernel import netns
    from ..notices import Notice

    for text in listen:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ConfigError(f"--listen {text}: not an IP address") from None
    source = _source(**shared)
    server = Server(source, lambda message: warn([Notice("dns-stale", message)]))

    def ready() -> None:
        domain = server.records.domain.rstrip(".")
        where = f"{', '.join(listen)}, port {port}"
        click.echo(f"Serving {len(server.records):,} records of {domain} on {where}.")

    with netns.entered(shared["netns"]):
        asyncio.run(run(server, [(address, port) for address in listen], ready))


def _source(ttl: int, servers: tuple[str, ...], **shared: Any) -> Manifests:
    import ipaddress

    from ..dns.source import Manifests
    from ..engine.request import Request, allocations_path, configuration
    from ..errors import ConfigError

    for address in servers:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ConfigError(f"--address {address}: not an IP address") from None
    request = Request(**shared)
    return Manifests(
        paths=request.files,
        recursive=request.recursive,
        state=str(allocations_path(request)),
        config=configuration(request),
        ttl=ttl,
        servers=servers,
    )
