"""``kcompile explain``: what one Service does on this node, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from . import options
from .console import Progress, echo, print_data, table, warn

if TYPE_CHECKING:
    from ..engine.compile import Compiled
    from ..engine.explain import Explanation, Listens, Source
    from ..engine.request import Request
    from ..program import Program

__all__ = ["API_VERSION", "command"]

API_VERSION = "kcompile.dev/v1alpha1"


@click.command(
    "explain",
    epilog="Examples:\n\n  kcompile explain shop/web -f manifests/\n\n"
    "  kcompile explain 192.0.2.10:30004 -f manifests/ --live -o wide",
)
@click.argument("asked", metavar="SERVICE|ADDRESS:PORT")
@options.specs
@click.option("--live", is_flag=True, help="Compare each rule with what this node's kernel holds.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json", "yaml"]),
    default="text",
    help="Output format.",
)
def command(asked: str, output: str, live: bool, **shared: Any) -> None:
    """Explain a Service on this node: its addresses and policies, which endpoints are used and why, and the
    rules that do it.

    SERVICE is NAMESPACE/NAME, or NAME in namespace default. Exit status: 1 if --live finds a difference.
    """
    from ..engine.cluster import complete_input
    from ..engine.compile import compile_cluster
    from ..engine.explain import explain
    from ..engine.request import Request, allocations_path
    from .reading import read_once

    request = Request(**shared)
    progress = Progress()
    given = read_once(request, progress, on_node=False)
    progress("compiling")
    cluster = complete_input(given, request, allocations_path(request))
    compiled = compile_cluster(cluster, request, on_node=live)
    found = explain(compiled, asked, _held(compiled, request) if live else None)
    progress.done()
    warn((notice for notice in compiled.warnings if _concerns(notice.object, found)), every=True)
    if output in ("json", "yaml"):
        items = [msgspec.to_builtins(item) for item in found]
        print_data({"apiVersion": API_VERSION, "kind": "Explanation", "items": items}, output)
    else:
        blocks = [_lines(item, wide=output == "wide") for item in found]
        echo(line for number, block in enumerate(blocks) for line in (("", *block) if number else block))
    if any(resource.live in ("missing", "different") for item in found for resource in item.resources):
        raise SystemExit(1)


def _held(compiled: Compiled, request: Request) -> Program:
    """What the kernel holds of the mode. Raises KernelError or UnsupportedError."""
    from ..kernel import netns
    from ..kernel.places import run_directory

    with netns.entered(request.netns):
        return compiled.mode.driver(run_directory(), request.iptables_backend).observe()


def _concerns(name: str, found: list[Explanation]) -> bool:
    """True for the object of a warning that is one of the explained Services."""
    keys = {item.service.partition(":")[0] for item in found}
    return any(key in name or name.endswith(f" {key.partition('/')[2]}") for key in keys)


def _lines(item: Explanation, *, wide: bool) -> list[str]:
    policies = f"internal traffic {item.internal_policy}, external traffic {item.external_policy}"
    affinity = f", affinity {item.affinity_seconds} s" if item.affinity_seconds else ""
    used = [endpoint for endpoint in item.endpoints if endpoint.used]
    lines = [
        f"{item.service}  {item.protocol}, IPv{item.family}, mode {item.mode}: {policies}{affinity}",
        "",
        "Frontends",
        *(f"  {line}" for line in _frontend_table(item)),
        "",
        f"Endpoints: {len(used)} of {len(item.endpoints)} used",
    ]
    if item.endpoints:
        header = ("ADDRESS", "NODE", "USED", "WHY NOT" if len(used) < len(item.endpoints) else "POOLS")
        rows = [
            (e.address, e.node or "<none>", "yes" if e.used else "no", e.why_not or ",".join(e.pools))
            for e in item.endpoints
        ]
        lines += [f"  {line}" for line in table(header, rows)]
    return [*lines, "", *_rules(item, wide=wide)]


def _frontend_table(item: Explanation) -> list[str]:
    header = ("KIND", "ADDRESS", "FROM LOCAL PODS", "FROM THE NODE", "FROM OTHERS", "SOURCES")
    rows = [
        (
            frontend.kind,
            _address(frontend),
            *(_answer(source) for source in frontend.sources),
            ",".join(frontend.source_ranges) or "any",
        )
        for frontend in item.frontends
    ]
    return table(header, rows)


def _address(frontend: Listens) -> str:
    address = f"[{frontend.address}]" if ":" in frontend.address else frontend.address
    return f"{address}:{frontend.port}"


def _answer(source: Source) -> str:
    if source.verdict != "dnat":
        return {"pass": "not handled"}.get(source.verdict, source.verdict)
    pool = "all endpoints" if source.pool == "cluster" else "local endpoints"
    return f"{pool}, masqueraded" if source.masqueraded else pool


def _rules(item: Explanation, *, wide: bool) -> list[str]:
    own = [resource for resource in item.resources if not resource.shared]
    shared = len(item.resources) - len(own)
    wrong = [resource for resource in item.resources if resource.live in ("missing", "different")]
    is_live = any(resource.live for resource in item.resources)
    lines = [f"Rules: {len(own)} of its own, {shared} shared with other Services" + (":" if wide else "")]
    if is_live:
        lines[0] = lines[0].removesuffix(":") + f"; in the kernel {len(wrong)} missing or different"
    shown = item.resources if wide else wrong
    return [*lines, *(f"  {f'[{r.live}] ' if r.live else ''}{r.text}" for r in shown)]
