"""What kcompile starts: nobody starts a program but by spawn.py, which looks neither into $PATH nor
into the current folder.
"""

import ast
import sys
from pathlib import Path

import pytest

from kcompile import spawn
from kcompile.errors import UnsupportedError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path.relative_to(ROOT)
    for folder in ("compiler/kcompile", "bench/kcompile_bench", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
STARTS = {
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "os.system",
    "os.popen",
}
FINDS = {"os.execvp", "os.execvpe", "os.execlp", "os.posix_spawnp", "shutil.which"}
ALLOWED = {
    "compiler/kcompile/spawn.py": {*STARTS, "shutil.which"},
    # a program of its own, started by spawn.popen with a $PATH of the system's folders; inside of the
    # container it is the container's
    "compiler/kcompile/lab/spawner/child.py": {"os.execvpe"},
    # the user's own command, with a $PATH that has no relative folder
    "compiler/kcompile/cli/lab_exec.py": {"os.execvpe"},
}


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_only_one_module_starts_programs(source: Path):
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse((ROOT / source).read_text()))
        if isinstance(node, ast.Call)
    }
    assert calls & (STARTS | FINDS) <= ALLOWED.get(str(source), set())


def program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\nexit 7\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("path", [None, "", ".", ":/usr/bin", "/usr/bin:", "/usr/bin:."])
def test_the_current_folder_and_path_have_no_say(
    path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ip", "kctest-program"):
        program(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert spawn.find("ip") in {f"{folder}/ip" for folder in spawn.FOLDERS}
    assert spawn.find("kctest-program") is None
    assert spawn.find("./kctest-program") is None
    assert spawn.run(["ip", "-V"], capture_output=True).returncode == 0
    with pytest.raises(UnsupportedError, match="kctest-program is missing"):
        spawn.run(["kctest-program"])
    assert all(folder.startswith("/") for folder in spawn.environment()["PATH"].split(":"))
    assert all(folder.startswith("/") for folder in spawn.search_path().split(":"))


def test_other_folders_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = program(tmp_path / "own", "kctest-program")
    monkeypatch.setenv("KCOMPILE_PROGRAMS", f"{own.parent}:relative")
    assert spawn.find("kctest-program") == str(own)
    assert spawn.find("ip") is None
    assert spawn.run(["kctest-program"]).returncode == 7
    assert spawn.environment()["PATH"] == str(own.parent)


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KCOMPILE_PROGRAMS", "/nowhere")
    with pytest.raises(UnsupportedError, match=r"^ip is missing: apt-get install iproute2$"):
        spawn.run(["ip"])
    with pytest.raises(
        UnsupportedError, match=r"^iptables-nft-restore is missing: apt-get install iptables$"
    ):
        spawn.run(["iptables-nft-restore"])


def test_a_python_child_imports_nothing_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mark = tmp_path / "ran"
    for name in ("msgspec.py", "click.py", "runpy.py", "kcompile/__init__.py", "sitecustomize.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(mark)!r}, 'a').write(__file__ + '\\n')\n")
    for folder in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE"):
        monkeypatch.setenv(folder, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for cwd in ("/", tmp_path):
        done = spawn.run(spawn.python("kcompile", "--version"), cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("kcompile, version")
    assert not mark.exists(), mark.read_text()


def test_a_python_child_has_the_package_that_this_process_has(tmp_path: Path):
    (tmp_path / "kctest_module.py").write_text(
        "import sys, kcompile\nprint(sys.argv, kcompile.__file__, __name__)\n"
    )
    done = spawn.run(spawn.python("kctest_module", "one", path=tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        f"['{tmp_path / 'kctest_module.py'}',",
        "'one']",
        sys.modules["kcompile"].__file__,
        "__main__",
    ]
    done = spawn.run(spawn.python("kcompile_bench.spawned", "/bin/true"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(spawn.python("kcompile")[2]).is_absolute()
