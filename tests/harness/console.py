"""The `kcompile` script on a namespace, as an administrator calls it: from any folder, with any environment,
entered in any way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import netns

__all__ = ["SCRIPT", "Console", "services"]

SCRIPT = str(Path(sys.executable).with_name("kcompile"))


def services(count: int, **spec: Any) -> list[dict[str, Any]]:
    """Services with an endpoint each, and the Node that they are compiled for; `spec` is added to each."""
    status = {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "status": status}
    ]
    for number in range(count):
        name = f"svc-{number}"
        items += [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": "demo"},
                "spec": {"ports": [{"name": "p", "port": 80}], **spec},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-1",
                    "namespace": "demo",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.244.0.21"], "nodeName": "node-a"}],
                "ports": [{"name": "p", "port": 8080}],
            },
        ]
    return items


class Console:
    """`folder` has its files: run, state and, for mode xdp, bpf."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.run_folder = folder / "run"
        own = {"KCOMPILE_RUN_DIR": str(self.run_folder), "KCOMPILE_STATE_DIR": str(folder / "state")}
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        } | own
        self.cwd = folder

    @property
    def directory(self) -> Path:
        """Its run directory."""
        return netns.run_directory(self.run_folder, self.namespace)

    def write(self, items: Sequence[Mapping[str, Any]], name: str = "specs.json") -> str:
        """A manifest; its path."""
        path = self.folder / name
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return str(path)

    def run(
        self,
        *words: str,
        code: int = 0,
        into: Sequence[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> str:
        """``kcompile WORDS``, into the namespace with --netns or by the words `into`; both outputs.

        `env`: None removes a variable.
        """
        changed = self.environment | dict(env or {})
        environment = {name: value for name, value in changed.items() if value is not None}
        place = () if into is not None else ("--netns", self.namespace)
        done = subprocess.run(
            [*(into or ()), SCRIPT, *words, *place],
            env=environment, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=180, check=False,
            preexec_fn=before,
        )  # fmt: skip
        assert done.returncode == code, f"kcompile {' '.join(words)}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def sysctl(self, name: str) -> str:
        with netns.enter(self.namespace):
            return Path("/proc/sys", name.replace(".", "/")).read_text().strip()
