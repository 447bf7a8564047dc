"""The committed report is what its data make, and the README says of it what is in it."""

import re
from pathlib import Path

import pytest

from kcompile_bench.kit.findings import Findings, findings_of
from kcompile_bench.kit.intervals import MIN_BLOCKS
from kcompile_bench.kit.results import Results
from kcompile_bench.kit.scenario import MODES

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "reports" / "standard"
AGAIN = (
    "kcompile bench report results.jsonl.gz --beside emulated.jsonl.gz --beside uml.jsonl.gz, "
    "in docs/reports/standard"
)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return findings_of(
        *(Results.read(FOLDER / f"{name}.jsonl.gz") for name in ("results", "emulated", "uml"))
    )


def test_it_is_whole(findings: Findings):
    assert findings.plan.profile == "standard"
    assert findings.complete
    assert {*findings.modes, *findings.absent} == set(MODES)
    assert all(stage.rounds >= MIN_BLOCKS for stage in findings.stages.values())
    (emulated, uml) = findings.others
    assert set(emulated.modes) == set(MODES)
    assert {"ipvs", "iptables-legacy"} <= set(uml.modes)


def test_it_says_what_its_data_say(findings: Findings):
    for name in ("report.md", "report.html"):
        text = (FOLDER / name).read_text().replace("&#x27;", "'")
        for answer in findings.answers:
            assert answer.text in text, f"{answer.text}\nis not in {name}; make it again: {AGAIN}"


def test_the_readme_quotes_it(findings: Findings):
    section = (ROOT / "README.md").read_text().split("## What it costs, measured")[1].split("\n## ")[0]
    quoted = re.findall(r"(?<![\w.])\d+\.\d+", section.split("[The whole report]")[0])
    assert len(quoted) > 20
    said = " ".join(
        [
            *(answer.text for answer in findings.answers),
            *(text for answer in findings.answers for _, text in answer.details),
        ]
    )
    figures = set(re.findall(r"\d+\.\d+", said))
    rounded = {f"{float(f):.1f}" for f in figures}
    assert [q for q in quoted if q not in figures | rounded] == []
