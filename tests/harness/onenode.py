"""A namespace as a node of its own, kcompile's command line on it, and Services that need no endpoints."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import netns

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
        command = self.command(verb, *arguments)
        return subprocess.run(
            command,
            input=given,
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

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
        command = [*KCOMPILE, "get", "services", "--netns", self.name, "-o", "json"]
        return json.loads(subprocess.run(command, env=self.env, capture_output=True, check=True).stdout)


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[Node]:
    with netns.group(["slip"]) as names:
        netns.run(names["slip"], ["ip", "link", "set", "lo", "up"])
        node = Node(names["slip"], folder)
        try:
            yield node
        finally:
            assert node.run("delete").returncode == 0
