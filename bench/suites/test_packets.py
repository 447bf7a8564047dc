"""Nanoseconds a packet of the eBPF programs: established and new flows, the floor beside. Needs root."""

import pytest

from kcompile_bench.packets import FLOWS, HOOKS, Case, Node, node

pytestmark = [pytest.mark.kernel, pytest.mark.modes("nftables")]  # a mode must be named: once for each scale

COUNT = 200_000


@pytest.mark.parametrize("hook", HOOKS)
def test_packets(benchmark, scale, mode, hook):
    del mode
    cases = [
        Case(hook, "floor"),
        *(Case(hook, "established", scale.services, flows) for flows in FLOWS),
        Case(hook, "new", scale.services),
    ]
    with node():
        figures = {}
        for case in cases:
            under = Node(scale.services)
            under.prepare(case)
            bare = min(under.run(case, COUNT, "nothing") for _ in range(3))
            figures[case] = (
                min(under.run(case, COUNT, "swap" if case.what == "floor" else "") for _ in range(5)) - bare
            )
            assert under.connections() >= max(case.flows, case.what != "floor")
        benchmark.pedantic(lambda: under.run(cases[-1], COUNT), rounds=1)
    seconds = benchmark.stats["median"] if benchmark.stats else 0.0  # none with --benchmark-disable
    benchmark.group = f"packets {scale}"
    benchmark.extra_info.update(
        stage=f"packets, {hook}", mode="", services=scale.services, scale=str(scale), cpu_seconds=seconds,
        nanoseconds={f"{case.what} {case.flows or ''}".strip(): value for case, value in figures.items()},
    )  # fmt: skip
