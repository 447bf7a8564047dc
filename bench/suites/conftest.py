"""What the suites share: --scale and --mode, one Workload a scale, and `measure`, which adds CPU seconds to
pytest-benchmark's clock.
"""

from __future__ import annotations

import gc
import time
from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache
from statistics import median

import pytest

from kcompile.kernel.bpf import pins, programs
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.netns import entered
from kcompile_bench import netns
from kcompile_bench.environment import cpu_seconds, environment
from kcompile_bench.generate import Scale
from kcompile_bench.shapes import PEERS
from kcompile_bench.workload import Workload

SCALES = ("1000x10", "10000x2", "50000x2")
MODES = ("nftables", "iptables-legacy", "iptables-nft", "xdp")
ELSEWHERE = "ipvs"  # asked for by kcompile_bench.ipvs, under a kernel that has it
# Compiled like the legacy variant, so one scale of it will do; --bench-mode iptables-nft has the others.
SLOW_MODE, SLOW_MODE_SERVICES = "iptables-nft", 1000
PEER_SERVICES = 10_000  # a peer takes minutes beyond


def pytest_addoption(parser):
    group = parser.getgroup("kcompile")
    group.addoption(
        "--scale",
        action="append",
        default=[],
        metavar="SERVICESxENDPOINTS",
        help=f"default: {' '.join(SCALES)}",
    )
    group.addoption(
        "--bench-mode",
        action="append",
        default=[],
        choices=(*MODES, ELSEWHERE),
        help="default: all but ipvs, iptables-nft at the first scale only",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "modes(*names): a suite that makes sense in these modes only")


def pytest_generate_tests(metafunc):
    scales = [Scale.parse(text) for text in metafunc.config.getoption("--scale") or SCALES]
    asked = metafunc.config.getoption("--bench-mode")
    pairs = [(scale, mode) for scale in scales for mode in asked or MODES]
    if not asked:
        pairs = [(s, mode) for s, mode in pairs if mode != SLOW_MODE or s.services <= SLOW_MODE_SERVICES]
    if only := metafunc.definition.get_closest_marker("modes"):
        pairs = [(s, m) for s, m in pairs if m in only.args]
    if "peer" in metafunc.fixturenames:
        pairs = [(s, m) for s, m in pairs if m in PEERS and s.services <= PEER_SERVICES]
        metafunc.parametrize(("scale", "peer"), pairs, ids=[f"{s}-{m}" for s, m in pairs])
    elif "mode" in metafunc.fixturenames:
        metafunc.parametrize(("scale", "mode"), pairs, ids=[f"{s}-{m}" for s, m in pairs])
    elif "family" in metafunc.fixturenames:
        families = dict.fromkeys((s, m.partition("-")[0]) for s, m in pairs)
        metafunc.parametrize(("scale", "family"), families, ids=[f"{s}-{f}" for s, f in families])
    elif "scale" in metafunc.fixturenames:
        metafunc.parametrize("scale", scales, ids=str)


def pytest_collection_modifyitems(items):
    # a suite that makes sense in none of the modes asked for leaves an item without a scale behind
    items[:] = [item for item in items if isinstance(item.callspec.params["scale"], Scale)]
    items.sort(key=lambda item: item.callspec.params["scale"])  # one Workload at a time


def pytest_benchmark_update_machine_info(machine_info):
    machine_info.update(environment())


@lru_cache(maxsize=1)  # fifty thousand Services are some hundred megabytes
def _workload(scale):
    return Workload(scale)


@pytest.fixture
def workload(scale):
    return _workload(scale)


@pytest.fixture
def driver(mode, tmp_path, monkeypatch):
    """Of mode xdp: with a bpffs of its own, and compiled programs at hand."""
    with bpffs(tmp_path, monkeypatch) if mode == "xdp" else nullcontext():
        yield driver_for(mode, directory=tmp_path / "run" / "node")


@pytest.fixture
def measure(benchmark, scale):
    """`measure(stage, work, ...)`: time `work`, the collector off as the command line has it, and note CPU
    seconds beside.
    """

    def measure(stage, work, *, mode="", setup=None, rounds=None, **extra):
        cpu = []
        benchmark.group = " ".join(filter(None, (stage, mode, str(scale))))

        def timed():
            start = cpu_seconds()
            result = work()
            cpu.append(cpu_seconds() - start)
            return result

        gc.collect()
        gc.disable()
        try:
            if rounds is None:
                rounds = 10 if scale.services <= 1000 else 5 if scale.services <= 10_000 else 3
            result = benchmark.pedantic(timed, setup=setup, rounds=rounds)
        finally:
            gc.enable()
        benchmark.extra_info.update(
            stage=stage,
            mode=mode,
            services=scale.services,
            endpoints=scale.services * scale.endpoints,
            scale=str(scale),
            cpu_seconds=median(cpu),
            **extra,
        )
        return result

    return measure


@contextmanager
def bpffs(folder, monkeypatch):
    """A bpffs below `folder`, for kcompile in this process and its children."""
    place = folder / "bpf"
    place.mkdir()
    pins.mount(place)
    monkeypatch.setenv("KCOMPILE_BPF_DIR", str(place))
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(folder / "run"))
    programs.compile_file("tc.c")
    try:
        yield
    finally:
        pins.unmount(place)


@pytest.fixture
def fresh(benchmark, request):
    """`fresh()`: leave the namespace of the last round for a new, empty one."""
    xdp = "mode" in request.fixturenames and request.getfixturevalue("mode") == "xdp"
    driver = request.getfixturevalue("driver") if xdp and "driver" in request.fixturenames else None
    with ExitStack() as stack:

        def fresh():
            stack.close()
            if benchmark.enabled:
                time.sleep(0.5)  # the kernel takes the old one apart in the background
            (name,) = stack.enter_context(netns.namespaces("node"))
            stack.enter_context(entered(name))
            if driver is not None:
                driver.kernel.remove()

        yield fresh
