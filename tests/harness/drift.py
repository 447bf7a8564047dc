"""A node that somebody changes behind kcompile's back: the command line on one namespace, and two dual-stack
Services.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from kcompile.cli import main

from . import netns

__all__ = ["Node", "edited", "service", "services"]


class Node:
    """Namespace `name`, and the command line there in mode `mode`; its files are in `folder`."""

    def __init__(self, name: str, folder: Path, mode: str) -> None:
        self.name, self.folder, self.mode = name, folder, mode
        self.env = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--netns", self.name], env=self.env)

    def _specs(self, verb: str, objects: list[dict[str, Any]] | None, options: tuple[str, ...]) -> Result:
        path = self.folder / "specs.json"
        if objects is not None:
            path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return self.run(verb, "--mode", self.mode, "-f", str(path), "--node", "node-a", *options)

    def apply(self, objects: list[dict[str, Any]] | None = None, *options: str) -> str:
        """Apply `objects` (None: the last ones); returns all that was printed."""
        done = self._specs("apply", objects, options)
        assert done.exit_code == 0, done.output
        return done.output

    def plan(self, *options: str) -> dict[str, Any]:
        """The plan for the last objects."""
        done = self._specs("plan", None, (*options, "-o", "json"))
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def changes(self) -> list[str]:
        """What a plan would change: ``ACTION TEXT``, a line each."""
        return [f"{change['action']} {change['text']}" for change in self.plan()["changes"]]

    def tool(self, *command: str, text: str | None = None) -> str:
        """Run `command` in the namespace."""
        return netns.run(self.name, list(command), text=text).stdout


def service(name: str, number: int, target: int = 8080, **spec: Any) -> list[dict[str, Any]]:
    """A dual-stack Service with one endpoint in each family, on port `target`."""
    meta = {"name": name, "namespace": "demo"}
    labels = {"kubernetes.io/service-name": name}
    ips = [f"10.96.0.{number}", f"fd00:10:96::{number}"]
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{kind.lower()}", "namespace": "demo", "labels": labels},
            "addressType": kind,
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "p", "port": target}],
        }
        for kind, address in (("IPv4", f"10.244.0.{number}"), ("IPv6", f"fd00:10:244::{number}"))
    ]
    body = {
        "clusterIPs": ips,
        "clusterIP": ips[0],
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
        "ports": [{"name": "p", "port": 80}],
        **spec,
    }
    return [{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": body}, *slices]


def services() -> list[dict[str, Any]]:
    """A node and two Services: one by NodePort with affinity, one plain, whose ports share no shape."""
    status = {"addresses": [{"type": "InternalIP", "address": ip} for ip in ("192.0.2.10", "2001:db8::10")]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "status": status}
    ports = [{"name": "p", "port": 80, "nodePort": 30080}]
    sticky = {"clientIP": {"timeoutSeconds": 600}}
    first = service(
        "one", 1, type="NodePort", ports=ports, sessionAffinity="ClientIP", sessionAffinityConfig=sticky
    )
    return [node, *first, *service("two", 2)]


def edited() -> list[dict[str, Any]]:
    """`services` with another endpoint in the place of one."""
    objects = services()
    first = next(
        item for item in objects if item["kind"] == "EndpointSlice" and item["addressType"] == "IPv4"
    )
    first["endpoints"][0]["addresses"] = ["10.244.9.9"]
    return objects
