"""The 840 objects that a real API server (1.36.2) was given, created in our store: verdicts and defaults."""

import json
from pathlib import Path
from typing import Any

from kcompile.apiserver import StatusError, Store

VERDICTS = Path(__file__).parents[1] / "unit/spec/data/verdicts.jsonl"
ROWS = [json.loads(line) for line in VERDICTS.read_text().splitlines()]
CIDRS = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}}
ON_PURPOSE = {"pod containers=[]": "accepted", "slice ports [{'port': 70000}]": "refused"}
"""Where kcompile's verdict is another: docs/reference/input.md."""


def plain(value: Any) -> Any:
    """`value` without what is empty: to the API that is the same as what isn't there."""
    if isinstance(value, dict):
        inner = {key: plain(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each not in (None, "", 0, [], {})}
    return [plain(each) for each in value] if isinstance(value, list) else value


def comparable(obj: dict[str, Any], given: dict[str, Any]) -> Any:
    """`obj` without what a server was free to choose."""
    spec = obj.get("spec") or {}
    if not given["spec"].get("clusterIP"):
        spec.pop("clusterIP", None)
    if spec.get("clusterIPs") and spec["clusterIPs"] != ["None"]:
        spec["clusterIPs"] = len(spec["clusterIPs"])
    for port, wanted in zip(spec.get("ports") or (), given["spec"].get("ports") or (), strict=True):
        if not wanted.get("nodePort") and port.get("nodePort"):
            port["nodePort"] = True
    if not given["spec"].get("healthCheckNodePort") and spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = True
    labels = {key: obj["metadata"].get(key) for key in ("name", "namespace", "labels", "annotations")}
    return plain({**obj, "metadata": labels})


def test_every_object_is_taken_or_refused_and_filled_in_as_by_the_server():
    store = Store()
    store.put(CIDRS | {"spec": {"cidrs": ["10.0.0.0/8", "fd00::/112"]}})
    wrong, compared = [], 0
    for row in ROWS:
        given = row["input"]
        try:
            made = store.create(given)
        except StatusError as error:
            verdict = "refused" if error.code in (400, 422) else str(error.code)
            detail = error.message
        else:
            verdict, detail = "accepted", ""
            store.delete(given["kind"], made["metadata"]["namespace"], made["metadata"]["name"])
        if verdict != ON_PURPOSE.get(row["variant"], row["verdict"]):
            wrong.append((row["variant"], row["verdict"], detail))
        elif "defaulted" in row and verdict == "accepted" and given["kind"] == "Service":
            ours, theirs = comparable(made, given), comparable(row["defaulted"], given)
            compared += 1
            if ours != theirs:
                wrong.append((row["variant"], ours, theirs))
    assert wrong == []
    assert (store.list("Service"), len(ROWS), compared) == ([], 840, 243)
