"""``kcompile run``: the node's agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from ..agent.log import Form

__all__ = ["command"]


@click.command("run")
@options.specs
@options.api_server
@click.option(
    "--min-sync-period",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="Wait at least so long between two syncs. Default: 0, a change goes at once.",
)
@click.option(
    "--sync-period",
    type=click.FloatRange(min=1),
    default=30.0,
    metavar="SECONDS",
    help="How often to check that nobody else has changed the rules. Default: 30.",
)
@click.option(
    "--healthz-bind-address",
    metavar="IP:PORT",
    help="Where to answer /healthz, /livez and /readyz; empty: nowhere. Default: as in --config, else "
    "0.0.0.0:10256.",
)
@click.option(
    "--metrics-bind-address",
    metavar="IP:PORT",
    help="Where to answer /metrics; empty: nowhere. Default: as in --config, else 127.0.0.1:10249.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", help="How log lines are written."
)
@click.option(
    "--take-over",
    is_flag=True,
    help="Remove kube-proxy's rules, once ours answer everything that they do and it has ended.",
)
@click.option("--cleanup", is_flag=True, help="Remove kcompile's rules of every mode, and exit.")
def command(
    kubeconfig: str | None,
    context: str | None,
    min_sync_period: float,
    sync_period: float,
    healthz_bind_address: str | None,
    metrics_bind_address: str | None,
    log_format: Form,
    take_over: bool,
    cleanup: bool,
    **shared: Any,
) -> None:
    """Follow an API server, or the manifests of -f, and keep this node's rules up to date.

    Runs until SIGTERM or SIGINT; the rules stay. SIGHUP: read the configuration again. `kcompile status`
    shows what is programmed.
    """
    import asyncio
    import os
    import sys

    from ..agent.agent import Agent, source_of
    from ..agent.log import agent_log
    from ..agent.notify import Notifier
    from ..agent.options import Options
    from ..agent.process import run
    from ..engine.request import Request, configuration
    from ..errors import InputError
    from .delete import remove_all

    request = Request(**shared)
    if cleanup:
        remove_all(request)
        return
    if request.reads and (kubeconfig or context):
        raise InputError("--kubeconfig and --context are for an API server; -f and -k for manifests")
    if request.config == "-":
        raise InputError("run --config -: standard input can't be read again; give a file")
    asked = Options(
        request=request,
        config=configuration(request),
        kubeconfig=kubeconfig,
        context=context,
        min_sync_period=min_sync_period,
        sync_period=sync_period,
        serves=True,
        healthz_bind_address=healthz_bind_address,
        metrics_bind_address=metrics_bind_address,
        take_over=take_over,
    )
    log = agent_log(sys.stderr, log_format, verbose=request.verbose)
    asyncio.run(run(Agent(asked, source_of(asked, log), log), Notifier(os.environ)))
