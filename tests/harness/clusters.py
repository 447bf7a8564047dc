"""A lab (``kcompile lab``) for a test: brought up and used by the command line, asked over sockets, gone at
the end.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcompile.kernel.netns import NETNS_DIR, entered

__all__ = ["Cluster", "cluster"]

_count = itertools.count(1)


class Cluster:
    """A lab's name, its folder, and what can be done with it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"t{os.getpid()}-{next(_count)}"
        self.run_directory = folder / "run"
        self.environment = os.environ | {
            "KCOMPILE_RUN_DIR": str(self.run_directory),
            "KCOMPILE_LAB": self.name,
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "kcompile", "lab", *words]

    def run(self, *words: str, code: int = 0) -> str:
        """``kcompile lab WORDS``; what it printed, on both outputs."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, (
            f"kcompile lab {' '.join(words)}: exit {done.returncode}\n{done.stdout}"
        )
        return done.stdout

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "-o", "json"))

    def pods(self, start: str = "") -> list[dict[str, Any]]:
        """The pods whose name starts so, each with its node's name; not those that are on their way out."""
        nodes = self.status()["nodes"]
        return [
            pod | {"node": node["name"]}
            for node in nodes
            for pod in node["pods"]
            if pod["name"].startswith(start) and pod["state"] != "terminating"
        ]

    def service(self, name: str) -> dict[str, Any]:
        return next(service for service in self.status()["services"] if service["name"] == name)

    def services_of(self, node: str) -> list[dict[str, Any]]:
        """``kcompile get services`` on a node, told nothing but its namespace."""
        command = [
            sys.executable,
            "-m",
            "kcompile",
            "get",
            "services",
            "-o",
            "json",
            "--netns",
            self.space("node", node),
        ]
        return json.loads(
            subprocess.run(
                command, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
        )

    def space(self, *role: str) -> str:
        return ".".join(("kclab", self.name, *role))

    def space_of(self, pod: dict[str, Any]) -> str:
        return self.space("pod", pod["namespace"], pod["name"])

    def get(self, space: str, ip: str, port: int, path: str = "/") -> dict[str, Any]:
        """What an echo server tells of a request from namespace `space`."""
        with entered(space):
            connection = http.client.HTTPConnection(ip, port, timeout=5)
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def answered_by(self, space: str, ip: str, port: int, pods: set[str]) -> list[dict[str, Any]]:
        """Ask until each of `pods` has answered; every answer."""
        answers: list[dict[str, Any]] = []
        for _ in range(200):
            answers.append(self.get(space, ip, port))
            found = {answer["pod"] for answer in answers}
            assert found <= pods
            if found == pods:
                return answers
        raise AssertionError(f"{ip}:{port} is answered only by {found} of {pods}")

    def left(self) -> list[str]:
        """Namespaces, processes, mounts, cgroups and files of this lab that there are."""
        mark = self.space("")
        found = [path.name for path in NETNS_DIR.glob(f"{mark}*")]
        found += [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if mark in line or str(self.run_directory) in line
        ]
        found += [str(path) for path in self.run_directory.rglob("*")]
        found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*{self.name}*")]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = path.read_text().replace("\0", " ")
                if str(self.run_directory) in line or mark in line:
                    found.append(line)
        return found


@contextlib.contextmanager
def cluster(folder: Path, *options: str) -> Iterator[Cluster]:
    """A lab that is up with `options`; without any, not yet."""
    made = Cluster(folder)
    try:
        if options:
            made.run("up", *options)
        yield made
    finally:
        made.run("down")
