"""``kcompile run``: the node's agent."""

from __future__ import annotations

from typing import Any

import click

from . import options

__all__ = ["command"]


@click.command("run")
@options.specs
@click.option("--kubeconfig", metavar="FILE", help="How to reach the API server. Default: $KUBECONFIG.")
@click.option("--context", metavar="NAME", help="The context of the kubeconfig to use.")
@click.option(
    "--min-sync-period",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="At least so long between two syncs. Default: 0, a change goes at once.",
)
@click.option(
    "--sync-period",
    type=click.FloatRange(min=1),
    default=30.0,
    metavar="SECONDS",
    help="How often the kernel is checked for changes by others. Default: 30.",
)
def command(
    kubeconfig: str | None,
    context: str | None,
    min_sync_period: float,
    sync_period: float,
    **shared: Any,
) -> None:
    """Follow an API server or manifests, and keep this node's rules up to date.

    Runs until SIGTERM or SIGINT; the rules stay. SIGHUP: read the configuration again.
    """
    import asyncio
    import logging

    from ..agent.agent import Agent, source_of
    from ..agent.options import Options
    from ..engine.request import Request

    request = Request(**shared)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    asked = Options(
        request=request,
        kubeconfig=kubeconfig,
        context=context,
        min_sync_period=min_sync_period,
        sync_period=sync_period,
    )
    asyncio.run(_until_told(Agent(asked, source_of(asked))))


async def _until_told(agent: Any) -> None:
    """Run `agent` until SIGTERM or SIGINT."""
    import asyncio
    import contextlib
    import signal

    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(agent.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
    with contextlib.suppress(asyncio.CancelledError):
        await running
