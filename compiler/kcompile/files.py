"""Files that decide what root does: written whole or not at all, never through a link, in folders that nobody
else can write.

private_folder  make a folder, or check the one that is there
read_private    the contents of a file that no other user can have written
write_whole     a file replaced atomically
Staged          the same in two steps: written before the kernel is touched, renamed after
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from types import TracebackType

from .errors import KernelError, UnsafeError

__all__ = [
    "NO_ROOM",
    "Staged",
    "check_folder",
    "open_unlinked",
    "private_folder",
    "read_private",
    "remove_file",
    "write_whole",
]

NO_ROOM = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""What a file system says that is read-only or full."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def private_folder(path: Path) -> None:
    """Make `path` and what is missing above it, mode 0700 whatever the umask; raise UnsafeError where others
    can write to it.

    Other failures are the OSError.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(0o700)
                folder.chmod(0o700)
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise UnsafeError where `path` is a link, has another owner, or can be written to by others. A missing
    one passes.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, PermissionError):
        return
    _check_folder(path, found)


def _check_folder(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeError(f"{path} is not a folder: remove it (rm {path})")
    _check_owner(path, found)
    if found.st_mode & _OTHERS:
        raise UnsafeError(f"others can write to the folder {path}: chmod go-w {path}")


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        own = os.geteuid()
        raise UnsafeError(
            f"{path} belongs to user {found.st_uid}: rm -r {path}, or chown {own} {path} where that was you"
        )


def read_private(path: Path, *, links: bool = False) -> bytes:
    """The bytes of `path`.

    `links`: its folder may be a link, to a folder that passes the same check. Raises UnsafeError where
    another user can have written it or it is no ordinary file; FileNotFoundError, PermissionError.
    """
    folder = _open_folder(path.parent, links=links)
    try:
        _check_folder(path.parent, os.fstat(folder))
        fd = open_unlinked(path, os.O_RDONLY, folder=folder)
    finally:
        os.close(folder)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        _check_owner(path, found)
        if found.st_mode & _OTHERS:
            remedy = f"rm {path}, or chmod go-w {path} where its content is known to be yours"
            raise UnsafeError(f"others can write to {path}: {remedy}")
        return file.read()


def open_unlinked(path: Path, flags: int, *, folder: int | None = None) -> int:
    """A descriptor of the ordinary file `path`, made with mode 0600 where `flags` has O_CREAT.

    `folder`: its folder, if that is open.

    Raises UnsafeError where it is a link or no ordinary file, before anything is read of it; other failures
    are the OSError.
    """
    # a FIFO is not waited for
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path if folder is None else path.name, flags, 0o600, dir_fd=folder)
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise UnsafeError(f"{path} is a link: rm {path}") from None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise UnsafeError(f"{path} is not an ordinary file: rm {path}")


def _open_folder(path: Path, *, links: bool) -> int:
    try:
        return os.open(path, _FOLDER if links else _FOLDER | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise UnsafeError(f"{path} is not a folder: remove it (rm {path})") from None


class Staged:
    """The content of a file that is to be: on disk under another name, until `commit` puts it in place.

    Not committed by the end of the ``with`` block, it is dropped. A forked child may commit for its parent.
    `private`: refuse a folder that others can write to. `sync`: through to the disk.
    Raises KernelError where it can't be written; PermissionError is left as it is.
    """

    def __init__(
        self, path: Path, data: bytes, *, mode: int = 0o600, private: bool = False, sync: bool = False
    ) -> None:
        self.path, self._sync = path, sync
        self._temporary = f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}"
        try:
            self._folder = os.open(path.parent, _FOLDER)
        except OSError as e:
            raise _unwritten(path, e) from None
        try:
            if private:
                _check_folder(path.parent, os.fstat(self._folder))
            self._write(data, mode)
        except OSError as e:
            self.close()
            raise _unwritten(path, e) from None
        except BaseException:
            self.close()
            raise

    def _write(self, data: bytes, mode: int) -> None:
        fd = os.open(self._temporary, _CREATE, mode, dir_fd=self._folder)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if self._sync:
                os.fsync(fd)

    def commit(self) -> None:
        """Rename it to the file's name. Needs no free space."""
        try:
            os.replace(self._temporary, self.path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            if self._sync:
                os.fsync(self._folder)
        except OSError as e:
            raise _unwritten(self.path, e) from None

    def close(self) -> None:
        """Remove it, unless it has been committed."""
        if self._folder >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._folder)
            os.close(self._folder)
            self._folder = -1

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_whole(
    path: Path, data: bytes, *, mode: int = 0o600, private: bool = False, sync: bool = False
) -> None:
    """Make `data` the content of `path`, whole or not at all; options and failures are those of `Staged`."""
    with Staged(path, data, mode=mode, private=private, sync=sync) as staged:
        staged.commit()


def remove_file(path: Path) -> bool:
    """Remove `path`; returns False where a read-only file system keeps it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        if e.errno in NO_ROOM:
            return False
        raise
    return True


def _unwritten(path: Path, error: OSError) -> KernelError | PermissionError:
    if isinstance(error, PermissionError):
        return PermissionError(error.errno, error.strerror, str(path))
    return KernelError(f"{path}: can't be written: {error.strerror}")
