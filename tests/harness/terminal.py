"""A command at a pseudo terminal, as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

from .onenode import Node

__all__ = ["Terminal"]


class Terminal:
    """A command whose controlling terminal, and stderr, is a pseudo terminal; stdin too, unless `given` is to
    be read there.
    """

    def __init__(self, node: Node, verb: str, *arguments: str, given: str | None = None) -> None:
        self.screen, side = pty.openpty()
        stdin = side if given is None else subprocess.PIPE
        self.seen = ""
        self.process = subprocess.Popen(
            node.command(verb, *arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=side,
            env=node.env,
            cwd=node.folder,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
        )
        os.close(side)
        if given is not None:
            assert self.process.stdin
            self.process.stdin.write(given)
            self.process.stdin.close()
            self.process.stdin = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.screen)

    def read(self, until: str = "", timeout: float = 60.0) -> str:
        """What has come so far, at least up to `until`, or to the end of the process."""
        deadline = time.monotonic() + timeout
        while not until or until not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if not select.select([self.screen], [], [], 1.0)[0]:
                continue
            try:
                self.seen += os.read(self.screen, 4096).decode()
            except OSError:  # EIO: nobody has the other side any more
                break
        return self.seen

    def said(self) -> str:
        """What stays on the screen: all but the line that shows what is going on where a command takes its
        time.
        """
        return re.sub(r"\r\x1b\[K([^\r\n]* \.\.\. \d+ s)?", "", self.seen).replace("\r\n", "\n")

    def answer(self, line: str) -> tuple[int, str]:
        """Type `line`; the exit status, and what was printed on stdout."""
        os.write(self.screen, line.encode())
        return self.end()

    def end(self) -> tuple[int, str]:
        self.read()
        output, _ = self.process.communicate(timeout=60)
        return self.process.returncode, output
