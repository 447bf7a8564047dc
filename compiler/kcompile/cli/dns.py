"""``kcompile dns``: the DNS records of the Services, as files or from a name server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import options
from .console import echo, print_data, table, warn

if TYPE_CHECKING:
    from ..dns.check import Verdict
    from ..dns.follow import Follower
    from ..dns.serve import Pair, Server
    from ..engine.request import Request

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
        click.option(
            "--pod-cidr",
            "pod_cidrs",
            metavar="CIDR[,CIDR]",
            help="Pod address ranges, for the reverse zones. Default: as in --config, and the Nodes'.",
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
        options.recursive,
    ):
        f = option(f)
    return f


def _files(*, required: bool) -> Callable[[F], F]:
    return click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        required=required,
        metavar="PATH",
        help="Manifests, as for kcompile apply.",
    )


@click.group("dns")
def command() -> None:
    """The Kubernetes DNS records of Services and their endpoints, as files or from a name server."""


@command.command("render")
@_files(required=True)
@_what
@click.option(
    "-o",
    "--output",
    type=click.Choice(["zone", "hosts", "corefile", "json"]),
    default="zone",
    help="Output format.",
)
@click.option(
    "--zone",
    "only",
    metavar="NAME",
    help="Print only this zone. Default: all of them, each with its $ORIGIN.",
)
@click.option(
    "--directory",
    default="/etc/coredns",
    metavar="DIR",
    help="Directory of the zone files, for the Corefile (/etc/coredns).",
)
def render(
    output: str, only: str | None, directory: str, ttl: int, servers: tuple[str, ...], **shared: Any
) -> None:
    """Print the records: zone files, lines for /etc/hosts, a Corefile for CoreDNS, or JSON."""
    import time

    from ..dns import render as form
    from ..dns.source import read, wanted
    from ..errors import ConfigError

    request = _request(shared, servers)
    zones = read(request, wanted(request, ttl, servers), int(time.time()))
    if output == "json":
        print_data(form.json_data(zones), "json")
    elif output == "hosts":
        echo(form.hosts(zones))
    elif output == "corefile":
        echo(form.corefile(zones, directory))
    else:
        files = form.zone_files(zones)
        names = [only.strip(".").lower() + "."] if only else list(files)
        if unknown := set(names).difference(files):
            known = ", ".join(zone.rstrip(".") for zone in files)
            raise ConfigError(f"--zone {unknown.pop().rstrip('.')}: the zones are {known}")
        for name in names:
            echo(files[name])


@command.command("serve")
@_files(required=False)
@options.api_server
@_what
@click.option(
    "--listen",
    multiple=True,
    default=("127.0.0.1",),
    metavar="IP",
    help="Address to listen on (127.0.0.1). May be repeated.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=53, help="UDP and TCP port (53).")
@click.option(
    "--forward",
    "upstream",
    multiple=True,
    metavar="IP[:PORT]",
    help="Name server for names outside of the cluster. May be repeated. Default: they are refused.",
)
@click.option(
    "--metrics-bind-address",
    metavar="IP:PORT",
    default="",
    help="Where to answer /metrics, /health and /ready. Default: nowhere.",
)
def serve(
    listen: tuple[str, ...],
    port: int,
    upstream: tuple[str, ...],
    metrics_bind_address: str,
    kubeconfig: str | None,
    context: str | None,
    ttl: int,
    servers: tuple[str, ...],
    **shared: Any,
) -> None:
    """Serve the records of an API server, or of the manifests of -f, over UDP and TCP until stopped.

    Changes are followed. If changed manifests are invalid, the server warns and keeps serving the last valid
    ones.
    """
    import asyncio
    import functools

    from ..dns.answers import Answerer
    from ..dns.follow import Follower
    from ..dns.forward import Forwarder
    from ..dns.serve import Server, bound
    from ..dns.source import follow, wanted
    from ..dns.zones import Zones
    from ..kernel import netns

    _require_addresses("--listen", listen)
    request = _request(shared, servers)
    forward = [_server("--forward", text) for text in upstream]
    what = wanted(request, ttl, servers, tuple([ip for ip in listen if ip not in ("0.0.0.0", "::")]))
    answerer = Answerer(Zones(what.domain, ttl), forwards=bool(forward), ready=False)
    server = Server(answerer, Forwarder(forward, _warn) if forward else None)
    source = functools.partial(follow, request, kubeconfig, context)
    follower = Follower(answerer, source, what, _warn)
    with netns.entered(request.netns):
        sockets = bound([(address, port) for address in listen])
    where = f"{', '.join(listen)}, port {port}"
    asyncio.run(_run(server, follower, sockets, metrics_bind_address, where))


@command.command("check")
@click.argument("name")
@_files(required=False)
@options.api_server
@_what
@click.option(
    "--server",
    "asked",
    metavar="IP[:PORT]",
    default="127.0.0.1",
    help="The name server to ask. Default: 127.0.0.1, port 53.",
)
@options.output
def check(
    name: str,
    asked: str,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    ttl: int,
    servers: tuple[str, ...],
    **shared: Any,
) -> None:
    """Ask a name server for NAME, and compare with the objects of an API server, or of the manifests of -f.

    NAME is absolute or below the cluster's domain (web.shop.svc), or an address. Prints each record, and the
    object that it comes from. Exit code 1 where the server says something else.
    """
    import asyncio
    import sys

    import msgspec

    from ..dns.check import absolute
    from ..dns.check import check as compare
    from ..dns.source import follow, once, read, wanted

    request = _request(shared, servers)
    what = wanted(request, ttl, servers)
    if request.reads:
        zones = read(request, what, 1)
    else:
        zones = asyncio.run(once(follow(request, kubeconfig, context), what))
    verdict = compare(zones, absolute(name, zones.domain), _server("--server", asked))
    if output == "text":
        echo(_verdict_lines(verdict))
    else:
        print_data(msgspec.to_builtins(verdict), output)
    if not verdict.agrees:
        sys.exit(1)


def _verdict_lines(verdict: Verdict) -> Iterator[str]:
    rows = [(line.state, line.kind, line.data, ", ".join(line.objects) or "-") for line in verdict.lines]
    if rows:
        yield from table(("STATE", "TYPE", "DATA", "OBJECT"), rows)
    for kind, rcode in verdict.answered.items():
        yield f"{kind}: the server answers {rcode}"
    if verdict.agrees:
        yield f"The server agrees: {verdict.name} {'is there' if rows else verdict.rcode}."
    else:
        yield f"The server says something else about {verdict.name}."


@command.command("feed")
@_files(required=False)
@options.api_server
@_what
@click.option(
    "--to",
    "kind",
    type=click.Choice(["bind", "nsd", "coredns", "dnsmasq"]),
    required=True,
    help="The name server that reads the files.",
)
@click.option("--directory", required=True, metavar="DIR", help="Where the files are written.")
@click.option(
    "--reload",
    "reload_command",
    metavar="COMMAND",
    help="Run this after a change, instead of the server's own command; empty: nothing.",
)
@click.option("--once", is_flag=True, help="Write the files and exit, without a reload.")
def feed(
    kind: str,
    directory: str,
    reload_command: str | None,
    once: bool,
    kubeconfig: str | None,
    context: str | None,
    ttl: int,
    servers: tuple[str, ...],
    **shared: Any,
) -> None:
    """Keep the files of another name server current, and tell it after a change.

    bind, nsd: zone files, and one to include in the configuration. coredns: zone files and a Corefile.
    dnsmasq: a file for addn-hosts.
    """
    import asyncio
    import logging
    from pathlib import Path

    from ..dns.feed import SERVERS, Feed
    from ..dns.source import follow, wanted
    from ..dns.source import once as now

    logging.disable()  # what a source logs comes as a warning too
    request = _request(shared, servers)
    what = wanted(request, ttl, servers)
    folder = Path(directory).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    feeding = Feed(SERVERS[kind], folder, what, _warn, reload_command)
    source = follow(request, kubeconfig, context)
    if once:
        feeding.write(asyncio.run(now(source, what)))
        return

    def written(records: int) -> None:
        click.echo(f"Wrote {records:,} records to {folder}.")

    asyncio.run(_until_stopped(feeding.run(source, written)))


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` until SIGTERM or SIGINT."""
    import asyncio
    import contextlib
    import signal

    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _run(server: Server, follower: Follower, sockets: list[Pair], metrics: str, where: str) -> None:
    """The server's whole life."""
    import os
    from contextlib import AsyncExitStack

    from ..agent.notify import Notifier
    from ..dns.serve import serve as run

    notifier = Notifier(os.environ)

    async def work(start: Callable[[], None]) -> None:
        async with AsyncExitStack() as stack:
            if metrics:
                from ..agent.serve.pages import ip_and_port
                from ..dns.status import Status

                await Status(server, follower).serve(*ip_and_port(metrics), stack)
            await follower.run(lambda: ready(start))

    def ready(start: Callable[[], None]) -> None:
        start()
        zones = server.answerer.zones
        click.echo(f"Serving {len(zones):,} records of {zones.domain.rstrip('.')} on {where}.")
        notifier.ready(f"{len(zones)} records")
        if server.forwarder is not None:
            server.forwarder.look_for_loops()

    await run(server, sockets, work)
    notifier.stopping()


def _warn(message: str) -> None:
    from ..notices import Notice

    warn([Notice("dns-stale", message)])


def _server(option: str, text: str) -> tuple[str, int]:
    """The address and port of another name server."""
    from ..agent.serve.pages import ip_and_port
    from ..errors import ConfigError, InputError

    ip, port = text, 53
    if text.count(":") == 1 or text.startswith("["):
        try:
            ip, port = ip_and_port(text)
        except InputError:
            raise ConfigError(f"{option} {text}: not an IP address with a port") from None
    _require_addresses(option, (ip,))
    return ip, port


def _require_addresses(option: str, texts: tuple[str, ...]) -> None:
    from ..errors import ConfigError
    from ..spec.addresses import is_ip

    for text in texts:
        if not is_ip(text):
            raise ConfigError(f"{option} {text}: not an IP address")


def _request(shared: dict[str, Any], servers: tuple[str, ...]) -> Request:
    from ..engine.request import Request

    _require_addresses("--address", servers)
    return Request(**shared, allow_empty=True)
