"""The wheel carries compiled programs: they are what its sources compile to, and need no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness import ebpf
from harness.imports import ROOT
from kcompile.errors import UnsupportedError
from kcompile.kernel.bpf import compiler, programs

OBJECTS = "kcompile/kernel/bpf/objects/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "KCOMPILE_BUILD_OBJECTS": "1"},
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("kcompile-*-py3-none-any.whl")
    with zipfile.ZipFile(path) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node without bcc, and with nothing in its cache."""
    monkeypatch.setenv("KCOMPILE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "BCC", tmp_path / "bcc")

    def run(_: compiler.Job) -> compiler.Result:
        raise UnsupportedError("bcc is not installed")

    monkeypatch.setattr(compiler, "run", run)


def test_objects_in_the_wheel_are_what_the_sources_compile_to(wheel: Path):
    carried = {path.name: path.read_bytes() for path in (wheel / OBJECTS).iterdir()}
    assert len(carried) == len(programs.VARIANTS)
    again = ebpf.objects()
    programs.compile_variants(again)
    assert carried == {name: (again / name).read_bytes() for name in carried}


@pytest.mark.usefixtures("no_compiler")
def test_a_node_needs_no_compiler(wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(programs, "shipped", lambda: wheel / OBJECTS)
    monkeypatch.setattr(programs, "sources", lambda: wheel / "kcompile/kernel/bpf/sources")
    assert programs.missing() == ""
    for name, defines in programs.VARIANTS:
        assert programs.compile_file(name, defines).programs
    assert not (tmp_path / "cache").exists()
    assert set(programs.compile_file("sock.c").programs) == set(programs.KINDS) - {"ingress", "egress", "xdp"}


@pytest.mark.usefixtures("no_compiler")
def test_objects_of_other_sources_or_damaged_are_not_used(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    text = (programs.sources() / "xdp.c").read_text()
    shipped = tmp_path / "objects"
    shipped.mkdir()
    monkeypatch.setattr(programs, "shipped", lambda: shipped)
    for path in (wheel / OBJECTS).iterdir():
        (shipped / path.name).write_bytes(path.read_bytes())
    assert programs.compile_text(text).programs
    with pytest.raises(UnsupportedError):
        programs.compile_text(text + "\n")
    for path in shipped.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UnsupportedError):
        programs.compile_text(text)
    for path in shipped.iterdir():
        path.unlink()
    assert programs.missing() == str(programs.BCC)


def test_no_compiler_is_one_line_with_the_packages_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(compiler, "DEBIAN", tmp_path / "bcc" / "__init__.py")
    with pytest.raises(UnsupportedError, match="apt-get install python3-bpfcc"):
        compiler.bcc()
