"""Files that decide what root does: whole or not at all, through no link, in folders that nobody else can
write.
"""

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

from kcompile.errors import KernelError, UnsafeError
from kcompile.files import Staged, check_folder, private_folder, read_private, write_whole

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_folders_and_files_are_private_whatever_the_umask(umask: int, tmp_path: Path):
    before = os.umask(umask)
    try:
        private_folder(tmp_path / "one" / "two")
        write_whole(tmp_path / "one/two/file", b"data", private=True)
    finally:
        os.umask(before)
    assert [mode(tmp_path / "one"), mode(tmp_path / "one/two")] == [0o700, 0o700]
    assert mode(tmp_path / "one/two/file") & 0o077 == 0


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o1777, 0o722])
def test_a_folder_that_others_can_write_is_refused_until_it_is_mended(bits: int, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"data")
    folder.chmod(bits)
    for act in (
        check_folder,
        private_folder,
        lambda f: read_private(f / "file"),
        lambda f: write_whole(f / "file", b"", private=True),
    ):
        with pytest.raises(UnsafeError, match=f"chmod go-w {folder}$"):
            act(folder)
    subprocess.run(["chmod", "go-w", str(folder)], check=True)
    private_folder(folder)
    (folder / "file").chmod(0o600)
    assert read_private(folder / "file") == b"data"


@pytest.mark.kernel
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    path = folder / "file"
    path.write_bytes(b"data")
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UnsafeError, match=f"{path} belongs to user {NOBODY}"):
        read_private(path)
    os.chown(path, 0, 0)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(UnsafeError, match=f"{folder} belongs to user {NOBODY}"):
        check_folder(folder)


def test_links_and_fifos_are_refused(tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir(0o700)
    write_whole(other / "file", b"secret")
    (tmp_path / "folder").symlink_to(other)
    (other / "link").symlink_to(other / "file")
    os.mkfifo(other / "fifo", 0o600)
    with pytest.raises(UnsafeError, match="is not a folder"):
        check_folder(tmp_path / "folder")
    with pytest.raises(UnsafeError, match="is not a folder"):
        read_private(tmp_path / "folder" / "file")
    with pytest.raises(UnsafeError, match="is a link"):
        read_private(other / "link")
    with pytest.raises(UnsafeError, match="is not an ordinary file"):
        read_private(other / "fifo")
    write_whole(other / "link", b"new")
    assert (other / "file").read_bytes() == b"secret"
    assert (other / "link").read_bytes() == b"new"


def test_a_file_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    with Staged(path, b"new") as staged:
        assert path.read_bytes() == b"old"
        staged.commit()
        assert path.read_bytes() == b"new"
    with Staged(path, b"dropped"):
        pass
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.kernel
def test_a_full_file_system_leaves_what_was(tmp_path: Path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "kctest", str(tmp_path)], check=True)
    try:
        write_whole(tmp_path / "file", b"old")
        with pytest.raises(KernelError, match=r"file: can't be written: No space left on device$"):
            write_whole(tmp_path / "file", bytes(1 << 20))
        assert [each.name for each in tmp_path.iterdir()] == ["file"]
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises(KernelError, match=r"file: can't be written: Read-only file system$"):
            write_whole(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


WRITERS = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "compiler/kcompile").rglob("*.py"))
    if path.name != "files.py"
]


@pytest.mark.parametrize("source", WRITERS, ids=str)
def test_nobody_else_replaces_files(source: Path):
    text = (ROOT / source).read_text()
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    assert not [
        ast.unparse(call)
        for call in calls
        if re.search(r"(mkstemp|os\.replace|os\.rename)$", ast.unparse(call.func))
    ]
    assert not re.search(r"\b(new|temporary)\.(replace|rename)\(", text)
