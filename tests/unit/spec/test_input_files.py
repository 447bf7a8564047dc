"""Files as people have them, in data/input, through the command: what is compiled, and what is said about
them.
"""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kcompile.cli import main

DATA = Path(__file__).parent / "data/input"
FACTS = ["--node", "node-a", "--mode", "nftables"]


def compiled(folder: Path, file: str, *options: str) -> Result:
    """``kcompile compile`` of one of the files, with its state in `folder`."""
    return CliRunner().invoke(
        main,
        ["compile", *FACTS, "--state", str(folder / "state.json"), "-f", str(DATA / file), *options],
        prog_name="kcompile",
    )


def about_fields(result: Result) -> list[str]:
    """The warnings that name a field, without the file."""
    lines = [
        line for line in result.stderr.splitlines() if "unknown field" in line or "duplicate key" in line
    ]
    return [line.partition("kcompile: warning: ")[2].partition(": ")[2] for line in lines]


@pytest.mark.parametrize(
    ("file", "service"),
    [
        ("knative-service.yaml", "default/web"),
        ("empties-str.yaml", "default/web"),
        ("tp-0.yaml", "default/web"),
        ("affinity-none-config.yaml", "default/web"),
        ("digit.yaml", "default/1web"),
        ("deployment-v1beta1.yaml", "default/web"),
        ("slice-v1beta1.yaml", "default/web"),
        ("dup-in-skipped.yaml", "default/web"),
    ],
)
def test_the_service_is_compiled(tmp_path, file, service):
    result = compiled(tmp_path, file)
    assert result.exit_code == 0, result.output
    assert f"{service}:" in result.stdout or f'"{service}' in result.stdout, result.stdout


def test_misspelt_fields_are_named(tmp_path):
    said = [
        (
            "Service web: spec.externalTrafficpolicy: unknown field, "
            "did you mean externalTrafficPolicy? [unknown-field]"
        ),
        "Service web: spec.ports[0].nodeport: unknown field, did you mean nodePort? [unknown-field]",
    ]
    for options in ([], ["--validate", "warn"]):
        result = compiled(tmp_path, "typo-silent.yaml", *options)
        assert (result.exit_code, about_fields(result)) == (0, said)
    for options in (["--validate", "ignore"], ["--validate=false"]):
        result = compiled(tmp_path, "typo-silent.yaml", *options)
        assert (result.exit_code, about_fields(result)) == (0, [])


@pytest.mark.parametrize("option", ["--validate=strict", "--validate=true", "--validate"])
def test_strict_is_an_error(tmp_path, option):
    result = compiled(tmp_path, "typo-silent.yaml", option)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert (
        "Service web: spec.externalTrafficpolicy: unknown field, did you mean externalTrafficPolicy?" in line
    )


def test_a_key_twice_is_an_error_or_elsewhere_a_warning(tmp_path):
    result = compiled(tmp_path, "dup.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Service web: spec.ports: duplicate key" in result.stderr
    result = compiled(tmp_path, "dup-in-skipped.yaml")
    assert about_fields(result) == [
        "ReplicationController rc: spec.selector: duplicate key (line 4, column 39) [duplicate-key]"
    ]


def test_a_generated_name_is_the_same_again(tmp_path):
    first, again = (compiled(tmp_path, "genname.yaml").stdout for _ in range(2))
    assert re.search(r"default/web-[a-z0-9]{5}\b", first)
    assert first == again
