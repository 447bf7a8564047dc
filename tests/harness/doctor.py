"""A node on which kcompile doctor finds nothing wrong, until a test makes a conflict."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import modes, netns, prefork

__all__ = ["Node", "healthy_node", "need"]

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "lb", "namespace": "demo"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.12",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30900,
        "ports": [{"port": 80, "nodePort": 30012}],
    },
}


def need(tool: str) -> None:
    """Skip where iptables variant `tool` doesn't work."""
    if reason := modes.missing(f"iptables-{tool.rpartition('-')[2]}"):
        pytest.skip(reason)


class Node:
    """A namespace in which nothing is wrong, and the command on it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.env = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }
        self.run_directory = netns.run_directory(folder / "run", name)
        self.manifests = folder / "lb.json"
        self.manifests.write_text(json.dumps(SERVICE))

    def sh(self, *args: str, text: str | None = None) -> str:
        return netns.run(self.name, args, text=text).stdout

    def kcompile(self, *args: str, code: int | None = 0) -> str:
        output, errors = self.folder / "output", self.folder / "errors"
        done = prefork.run(args, self.env, Path.cwd(), output, 120, errors=errors)
        assert code is None or done == code, output.read_text() + errors.read_text()
        return output.read_text()

    def apply(self, *args: str) -> None:
        self.kcompile("apply", "-f", str(self.manifests), "--netns", self.name, *args)

    def report(self, *args: str) -> dict:
        report = json.loads(
            self.kcompile(
                "doctor", "--netns", self.name, "-o", "json", *(args or ("--mode", "nftables")), code=None
            )
        )
        assert report["healthy"] is not any(f["severity"] == "error" for f in report["findings"])
        return report

    def findings(self, check: str) -> list[dict]:
        """The findings of `check` that aren't ok."""
        found = [f for f in self.report()["findings"] if f["check"] == check]
        assert found
        return [f for f in found if f["severity"] != "ok"]

    def fix(self, finding: dict) -> None:
        """Run the commands as they are, but for the two that only the reader knows: the manifests, and where
        kcompile is.
        """
        for command in finding["fix"]:
            inside = command.startswith(f"ip netns exec {self.name} ") or command.endswith(
                f" --netns {self.name}"
            )
            assert inside or command.startswith(("kill ", f"rm {self.folder}")), (
                f"not in the test's own namespace: {command}"
            )
            command = command.replace("MANIFESTS", str(self.manifests)).replace(
                "kcompile ", f"{sys.executable} -m kcompile ", 1
            )
            subprocess.run(["sh", "-c", command], env=self.env, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def healthy_node(folder: Path) -> Iterator[Node]:
    """A new namespace in which doctor finds nothing wrong; its processes end with it."""
    with netns.group(["node"]) as names:
        made = Node(names["node"], folder)
        netns.sysctl(
            made.name,
            {"ipv4/ip_forward": 1, "netfilter/nf_conntrack_tcp_be_liberal": 1, "ipv4/conf/*/rp_filter": 0},
        )
        yield made
        for pid in netns.pids(made.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
