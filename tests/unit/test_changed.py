"""``make test-changed``: which tests a change chooses."""

import subprocess
from pathlib import Path

import pytest

from harness.changed import changed_files, chosen_for, reaching


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of this one's shape, in git, on the branch `topic`."""
    files = {
        "compiler/kcompile/__init__.py": "",
        "compiler/kcompile/__main__.py": "from .cli import main\n",
        "compiler/kcompile/cli.py": "def main():\n    from .targets import lower\n",
        "compiler/kcompile/targets.py": "def lower(): pass\n",
        "compiler/kcompile/lonely.py": "",
        "compiler/kcompile/kernel/bpf/programs.py": "",
        "bpf/sock.c": "",
        "docs/howto/dns.md": "",
        "tests/conftest.py": "",
        "tests/harness/tool.py": "import kcompile.lonely\n",
        "tests/unit/conftest.py": "",
        "tests/unit/test_targets.py": "from kcompile.targets import lower\n",
        "tests/unit/test_tool.py": "def test():\n    from harness import tool\n",
        "tests/kernel/test_command.py": "import sys\ncommand = [sys.executable, '-m', 'kcompile', 'apply']\n",
        "tests/bpf/test_load.py": "from kcompile.kernel.bpf import programs\n",
        "tests/examples/test_documents.py": "DOCUMENTS = ['docs/howto/dns.md']\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "all")
    git(tmp_path, "checkout", "-q", "-b", "topic")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *named, *arguments], check=True, capture_output=True)


def test_changed_is_what_was_committed_since_edited_or_made(project: Path):
    assert changed_files("main", project) == set()
    (project / "compiler/kcompile/cli.py").write_text("# committed\n")
    git(project, "commit", "-qam", "one")
    (project / "bpf/sock.c").write_text("/* edited */\n")
    (project / "tests/unit/test_new.py").write_text("")
    assert changed_files("main", project) == {
        "compiler/kcompile/cli.py",
        "bpf/sock.c",
        "tests/unit/test_new.py",
    }


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ("compiler/kcompile/targets.py", ["tests/kernel/test_command.py", "tests/unit/test_targets.py"]),
        ("compiler/kcompile/lonely.py", ["tests/unit/test_tool.py"]),
        ("tests/harness/tool.py", ["tests/unit/test_tool.py"]),
        ("tests/unit/test_tool.py", ["tests/unit/test_tool.py"]),
        ("tests/unit/conftest.py", ["tests/unit/test_targets.py", "tests/unit/test_tool.py"]),
        ("bpf/sock.c", ["tests/bpf/test_load.py"]),
        ("docs/howto/dns.md", ["tests/examples/test_documents.py"]),
        ("tests/conftest.py", ["tests"]),
        ("pyproject.toml", ["tests"]),
    ],
)
def test_a_change_chooses_the_tests_that_reach_it(project: Path, changed: str, chosen: list[str]):
    assert chosen_for({changed}, project) == chosen


def test_in_this_project_the_command_line_reaches_every_verb():
    reach = reaching()
    assert "compiler/kcompile/targets/nftables/render.py" in reach["tests/kernel/test_kill.py"]
    assert "tests/uml/remote.py" in reach["tests/uml/test_uml.py"]
    assert "compiler/kcompile/targets/xdp/lower.py" not in reach["tests/unit/test_parallel.py"]
