"""Whether a node is as its API server's objects ask: what `kcompile plan` would change."""

from __future__ import annotations

import json
import os
import urllib.request

from harness.followed import differences
from kcompile.modes import MODES
from kcompile_bench.agent.place import Place
from kcompile_bench.agent.server import ApiServer
from kcompile_bench.generate import NODE

__all__ = ["left"]

_KINDS = {
    "Node": ("v1", "api/v1/nodes"),
    "Service": ("v1", "api/v1/services"),
    "EndpointSlice": ("discovery.k8s.io/v1", "apis/discovery.k8s.io/v1/endpointslices"),
}


def left(server: ApiServer, place: Place, mode: str) -> list[str]:
    """The changes that are left to make, while an agent of `mode` runs. Sets this process's environment."""
    os.environ |= place.environment
    sockets = {"socket_lb": "off"} if MODES[mode].sees_interfaces else {}
    objects = [
        {"apiVersion": version, "kind": kind, **item}
        for kind, (version, path) in _KINDS.items()
        for item in _listed(f"http://{server.host}:{server.port}/{path}")
    ]
    config = str(place.folder / "config.yaml")
    return differences(objects, place.netns, mode, node=NODE, config=config, **sockets)


def _listed(url: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(url) as answer:
        return list(json.load(answer)["items"])
