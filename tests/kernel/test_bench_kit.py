"""kcompile bench, for real: connections between namespaces, an injected slowdown, an interrupted run, and
nothing left behind.
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from harness import modes
from harness.benchrun import BENCH_RUN
from kcompile_bench.kit.findings import findings_of
from kcompile_bench.kit.measures import KINDS
from kcompile_bench.kit.netns_cluster import NetnsPlace
from kcompile_bench.kit.record import environment
from kcompile_bench.kit.results import FILE, Results
from kcompile_bench.kit.runner import Runner
from kcompile_bench.kit.scenario import PATHS, POSITIONS, Measure, Plan
from kcompile_bench.kit.text import markdown

pytestmark = [pytest.mark.kernel, pytest.mark.together("bench")]

LOAD = {"seconds": 0.02, "rounds": 2, "groups": "largest", "direct_with_rules": False}
IN = ("pod-direct", "pod-clusterip")


def namespaces() -> set[str]:
    return (
        {path.name for path in Path("/run/netns").glob("kcbench-*")} if Path("/run/netns").exists() else set()
    )


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = namespaces()
    yield
    assert namespaces() <= before


def plan(*measures: Measure, groups=((1, 2), (20, 1)), wanted=("nftables",), control=()) -> Plan:
    return Plan(
        profile="test",
        modes=wanted,
        groups=groups,
        measures=measures,
        control_rounds=1,
        control_services=control,
    )


def run(folder: Path, what: Plan, **options) -> Results:
    results = Results.start(folder, what, environment("namespaces"))
    Runner(results, NetnsPlace(), lambda *_: None, **options).run()
    return Results.read(folder)


def test_every_path_and_every_measure_works(tmp_path: Path):
    wanted = ("conntrack", "linear", *modes.MODES, "xdp")
    kinds = (
        Measure(kind="connect", paths=tuple(PATHS), positions=POSITIONS, count=5, rounds=2),
        Measure(kind="handshake", paths=IN, count=20, rounds=2, groups="largest"),
        Measure(kind="crr", paths=IN, concurrency=4, **LOAD),
        Measure(kind="rr", paths=IN, keepalive=True, **LOAD),
        Measure(kind="rate", paths=IN, concurrency=256, rate=500, **LOAD),
        Measure(kind="stream", paths=IN, megabytes=4, rounds=2, groups="largest", direct_with_rules=False),
        Measure(
            kind="udp",
            paths=("outside-direct", "outside-nodeport"),
            megabytes=1,
            rounds=2,
            groups="single",
            direct_with_rules=False,
        ),
    )
    results = run(tmp_path, plan(*kinds, wanted=wanted, control=(20,)))
    findings = findings_of(results)
    for mode in wanted:
        if mode in ("conntrack", "linear", "xdp"):
            continue
        if reason := modes.missing(mode):
            assert mode in findings.absent, reason
        else:
            assert mode in findings.modes
            assert findings.control(20, mode, "first").value < findings.control(20, mode, "cold").value + 1
    for mode, why in findings.absent.items():
        assert mode not in findings.modes
        assert why
        assert "\n" not in why
    measured = {stage.stage.measure.kind for stage in findings.stages.values()}
    assert {"connect", "crr", "rr", "rate"} <= measured
    assert {name.split()[1]: why for name, why in results.absent_stages.items()}.keys() == {
        k.kind for k in kinds
    } - measured
    for name, stage in findings.stages.items():
        assert stage.rounds == 2
        assert all(not t["blocks without figures"] for _, t in stage.troubles()), (name, stage.troubles())
        for condition in stage.conditions:
            for figure in KINDS[stage.stage.measure.kind].figures:
                assert any(value is not None for value in stage.column(condition, figure)), (
                    name,
                    condition,
                    figure,
                )
    for stage in findings.of_kind("handshake"):
        for condition in stage.conditions:
            for block in stage.blocks(condition):
                assert block["kernel_count"] >= block["count"]
                assert block["figures"]["kernel_p50"] < block["figures"]["p50"] * 1.01
    for stage in findings.of_kind("rate"):
        assert all(
            block["count"] <= 10 + 1 for condition in stage.conditions for block in stage.blocks(condition)
        )


def test_an_injected_slowdown_is_burnt_in_every_connect(tmp_path: Path):
    """A thousandfold one, which no other load on this machine hides or makes.

    What is found of small ones: unit/bench/test_recorded.py.
    """
    mode = next(mode for mode in modes.MODES if not modes.missing(mode))
    what = plan(Measure(kind="connect", paths=IN, count=3, rounds=2), groups=((1, 1),), wanted=(mode,))
    findings = findings_of(run(tmp_path, what, inject={mode: 1000.0}))
    (stage,) = findings.stages.values()
    slow = [value for c in stage.conditions if c.mode == mode for value in stage.column(c, "p50")]
    usual = [value for c in stage.conditions if c.mode != mode for value in stage.column(c, "p50")]
    assert slow
    assert min(slow) > 10 * sorted(usual)[len(usual) // 2]


def bench(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [
        *BENCH_RUN,
        "--output",
        str(folder),
        "--services",
        "1",
        "--mode",
        "nftables",
    ]
    return subprocess.Popen(
        [*command, "--measure", "connect", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rounds(folder: Path) -> int:
    return (folder / FILE).read_text().count('"round"') if (folder / FILE).exists() else 0


def form(folder: Path) -> list[str]:
    """A report's headings, and the first column of its tables, without figures."""
    lines = [
        line for line in markdown(findings_of(Results.read(folder))).splitlines() if line[:1] in ("#", "|")
    ]
    return [
        re.sub(r"[\d.,]+( [µm]?s|%)?|\*", "#", line.split("|")[1]) if line.startswith("|") else line
        for line in lines
    ]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_and_its_report_has_the_form_of_a_whole_one(
    tmp_path: Path, how: signal.Signals
):
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    process = bench(tmp_path / "cut", "--rounds", "30")
    deadline = time.monotonic() + 60
    while rounds(tmp_path / "cut") < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate()
    assert process.returncode
    before = rounds(tmp_path / "cut")
    assert 3 <= before < 30
    again = bench(tmp_path / "cut", "--rounds", "30")
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "Continuing" in said
    # what the killed one left has been swept away
    assert not list(Path(tempfile.gettempdir()).glob(f"kcbench-{process.pid}-*"))
    results = Results.read(tmp_path / "cut")
    assert sorted(results.rounds["1x2 connect"]) == list(range(30))
    assert results.starts == 2
    if how == signal.SIGINT:
        whole = bench(tmp_path / "whole", "--rounds", "30")
        assert whole.wait() == 0, whole.communicate()[0]
        whole.communicate()
        assert form(tmp_path / "cut") == form(tmp_path / "whole")
        command = [sys.executable, "-m", "kcompile", "bench", "report", str(tmp_path / "whole")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert {"report.html", "report.md", "report.json", "report.csv"} <= {
            p.name for p in (tmp_path / "whole").iterdir()
        }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "iptable"], "'iptable' is not one of"),
        (["--services", "7"], "no group of 7 Services"),
        (
            ["--place", "moon"],
            "--place 'moon' is not one of netns, lab, uml, tcg or a file of hosts, FILE.yaml",
        ),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], said: str):
    command = [
        *BENCH_RUN,
        "--output",
        str(tmp_path / "out"),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
