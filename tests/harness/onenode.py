"""A namespace as a node of its own, kcompile's command line on it, and Services that need no endpoints."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import netns, prefork

__all__ = ["KCOMPILE", "Node", "fresh", "service", "services", "text"]

KCOMPILE = (sys.executable, "-m", "kcompile")


def service(name: str, ip: str | None) -> dict:
    spec = {"ports": [{"name": "p", "port": 80}], **({"clusterIP": ip} if ip else {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": spec,
    }


def services(count: int) -> list[dict]:
    return [service(f"web-{i}", f"10.96.0.{i + 1}") for i in range(count)]


def text(*objects: dict) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


class Node:
    """A namespace, the command in it, and its files; `lock`: the folder of its lock."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.lock = netns.run_directory(folder / "run", name)
        self.options = ["--netns", name, "--node", "node-a"]
        self.env = os.environ | {
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }

    def command(self, verb: str, *arguments: str) -> list[str]:
        return [*KCOMPILE, verb, *arguments, *self.options]

    def run(self, verb: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """In a process of its own, but without the start of an interpreter."""
        return self._run([verb, *arguments, *self.options], given)

    def _run(self, arguments: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="streams-") as folder:
            streams = [Path(folder, name) for name in ("input", "output", "errors")]
            streams[0].write_text(given)
            code = prefork.run(
                arguments, self.env, self.folder, streams[1], given=streams[0], errors=streams[2]
            )
            output, errors = (path.read_text() for path in streams[1:])
        return subprocess.CompletedProcess(arguments, code, output, errors)

    def apply(self, *objects: dict, extra: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        done = self.run("apply", "-f", "-", *extra, given=text(*objects))
        assert done.returncode == 0, done.stderr
        return done

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        """The command with its stdin open, as behind a pipe whose other side takes its time."""
        command, pipe = self.command(verb, *arguments), subprocess.PIPE
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env, cwd=self.folder, text=True
        )

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script of bash in which `kcompile` is ours, with the options for this node last."""
        words = " ".join([*KCOMPILE, '"$@"', *self.options])
        return subprocess.run(
            ["bash", "-c", f"kcompile() {{ {words}; }}\n{script}"],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def held(self) -> set[str]:
        """Names of the Services in the kernel."""
        return {item["service"].partition(":")[0] for item in self.shown()}

    def shown(self) -> list[dict]:
        """The frontends in the kernel."""
        done = self._run(["get", "services", "--netns", self.name, "-o", "json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[Node]:
    with netns.group(["slip"]) as names:
        netns.run(names["slip"], ["ip", "link", "set", "lo", "up"])
        node = Node(names["slip"], folder)
        try:
            yield node
        finally:
            assert node.run("delete").returncode == 0
