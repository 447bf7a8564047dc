"""The project about itself: the README's commands exist, the changelog keeps up, modules stay small, nothing
points outside.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kcompile

ROOT = Path(__file__).resolve().parents[2]
LONG_MODULES: set[str] = set()  # allowed exceptions to MAX_LINES: none
MAX_LINES = 400


def project_files() -> list[Path]:
    """What git holds, or in an unpacked archive everything but what tools leave behind."""
    if shutil.which("git"):
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
        )
        if listed.returncode == 0:
            return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    leftovers = re.compile(r"(\.(venv|git|nox|[a-z]+_cache|hypothesis|benchmarks)|build|__pycache__)/")
    files = (p for p in ROOT.rglob("*") if p.is_file())
    return [p for p in files if not leftovers.search(f"{p.relative_to(ROOT).as_posix()}/")]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def documents() -> list[Path]:
    return [p for p in project_files() if p.suffix == ".md"]


def test_every_make_command_that_the_documents_name_exists():
    named = {
        (p.name, t)
        for p in documents()
        for t in re.findall(r"(?:^\s*|[`$;]\s*|sudo )make ([a-z][a-z-]*)", p.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= {target for name, target in named if name == "README.md"}
    assert {(name, target) for name, target in named if target not in make_targets()} == set()


def test_make_alone_lists_every_target():
    shown = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    assert {f"make {t}" for t in make_targets() - {"help"}} <= {
        " ".join(line.split()[:2]) for line in shown.splitlines()
    }


def test_ci_runs_the_test_command_of_the_readme():
    commands = [
        line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")
    ]
    assert commands[-1] == "make test"
    assert "make test" in (ROOT / "README.md").read_text()


def test_links_between_documents_lead_somewhere():
    broken = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in documents()
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
        if not re.match(r"[a-z]+:", link) and not (document.parent / link).exists()
    ]
    assert broken == []


def test_the_changelog_has_an_entry_for_this_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert kcompile.__version__ == declared
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert declared in headings


def test_nothing_points_outside_of_the_project():
    outside = re.compile(
        rb"(?<![\w.])/(?:work|home/[a-z]+|tmp/kv)/(?!\s)|\.\./\.\./shared/|(?<![\w/])\.\./shared/"
    )
    guilty = [
        str(p.relative_to(ROOT))
        for p in project_files()
        if p != Path(__file__).resolve() and outside.search(p.read_bytes())
    ]
    assert guilty == []


@pytest.mark.parametrize(
    "path", [p for p in project_files() if p.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_modules_stay_small(path: Path):
    if str(path.relative_to(ROOT)) not in LONG_MODULES:
        assert len(path.read_text().splitlines()) < MAX_LINES


def test_decisions_are_numbered_once():
    numbers = [p.name[:4] for p in documents() if p.parent.name == "adr"]
    assert sorted(set(numbers)) == sorted(numbers)


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("false", 0), ("true", 1)])
def test_a_skip_fails_in_ci_only(tmp_path: Path, ci: str, code: int):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_runs(): pass\n"
        "def test_skips(): pytest.skip('no such tool')\n"
        "@pytest.mark.skip(reason='not today')\ndef test_marked(): pass\n"
        "@pytest.mark.xfail(strict=True)\ndef test_known(): raise AssertionError\n"
        "@pytest.mark.kernel_lacks(reason='never')\ndef test_may(): pytest.skip('not in this kernel')\n"
    )
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.importorskip('no_such_module_anywhere')\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "plugins.no_silent_skips",
        "-p",
        "no:cacheprovider",
        "-q",
        "-rfE",
        "--continue-on-collection-errors",
    ]
    environment = {"PATH": "/usr/bin:/bin", "CI": ci, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if ci == "true":
        assert done.returncode != 0
        assert "test_skips may not skip in CI: " in done.stdout
        assert "no such tool" in done.stdout
        assert "test_marked may not skip in CI" in done.stdout
        assert "test_may may not" not in done.stdout
        assert "test_module" in done.stdout
    else:
        assert done.returncode == code, done.stdout
