"""What the real kubectl (1.37) asked a real server (1.36.2), asked of ours in the same order.

The recording's answers are without managedFields, and its tables without descriptions. Left out: what only
that server has (other kinds, server-side apply), watches, and what needs a kubelet.
"""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

from harness.apiclient import Answer, Client, client
from kcompile.apiserver import Store, serve

LINES = (Path(__file__).parent / "data/kubectl-requests.jsonl").read_text().splitlines()
REQUESTS = [json.loads(line) for line in LINES]
CHOSEN = (
    *("uid", "resourceVersion", "clusterIP", "clusterIPs", "nodePort"),
    *("creationTimestamp", "deletionTimestamp", "lastTransitionTime"),
)
"""What each server chooses for itself."""
AGE = re.compile(r"\d+m?\d*s")
ADDRESS = re.compile(r"10\.\d+\.\d+\.\d+")
TAINTED = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
OTHER_WORDS = ("kubectl apply -f bad.yaml", "kubectl auth can-i list services")
"""A refusal in words of our own, and an answer with a reason."""
NOT_OURS = ("kubernetes", "kube-node-lease", "kube-public", "c2")
"""Objects that a real server makes for itself, and one of server-side apply."""


def plain(value: Any) -> Any:
    """`value` without what each server chooses, and without what is empty."""
    if isinstance(value, dict):
        found = {key: plain(each) for key, each in value.items() if key not in CHOSEN}
        return {key: each for key, each in found.items() if each not in (None, {}, [], "", 0)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return AGE.sub("AGE", ADDRESS.sub("ADDRESS", value))
    return value


def seen(body: Any) -> Any:
    """What kubectl reads of an answer."""
    if isinstance(body, dict) and body.get("kind") == "Table":
        rows = body["rows"]
        cells = [row["cells"] if isinstance(row, dict) else row for row in rows]
        kept = [row for row in cells if row[0] not in NOT_OURS]
        columns = body.get("columns") or [
            [each[name] for name in ("name", "type", "format", "priority")]
            for each in body["columnDefinitions"]
        ]
        return [columns, plain(kept)]
    if isinstance(body, dict) and "items" in body:
        body = {**body, "items": [each for each in body["items"] if each["metadata"]["name"] not in NOT_OURS]}
    return plain(body)


def version(body: Any) -> int | None:
    """The version that a write made."""
    meta = body.get("metadata") if isinstance(body, dict) else None
    return int(meta["resourceVersion"]) if meta and meta.get("resourceVersion") else None


async def ask(asking: Client, store: Store, line: dict[str, Any]) -> Answer:
    method, path = line["request"].split(" ", 1)
    headers = {"Accept": line.get("accept", "*/*")}
    if "content" in line:
        headers["Content_Type"] = line["content"]
    sent = line.get("sent")
    if isinstance(sent, dict) and "base64" in sent:
        sent = base64.b64decode(sent["base64"])
    elif sent is not None:
        sent = json.dumps(sent).encode()
    number = version(line.get("body"))
    if method != "GET" and number and number > store.version:
        store.version = number - 1  # the real server's own controllers wrote in between
    return await asking.ask(method, path, sent, **headers)


def test_every_request_of_kubectl_is_answered_as_by_a_real_server():
    async def work() -> list[Any]:
        store, wrong = Store(controllers=True), []
        async with serve(store) as server, client(server.url) as asking:
            for line in REQUESTS:
                answer = await ask(asking, store, line)
                if line["request"].startswith("POST /api/v1/nodes"):  # there, an admission plugin does it
                    store.patch("Node", "", "node-a", {"spec": {"taints": TAINTED}})
                    answer.body["spec"]["taints"] = TAINTED
                if answer.status != line["status"]:
                    wrong.append((line["step"], line["request"], line["status"], answer.status, answer.body))
                elif line["step"] not in OTHER_WORDS and "body" in line:
                    theirs, ours = seen(line["body"]), seen(answer.body)
                    if theirs != ours:
                        wrong.append((line["step"], line["request"], theirs, ours))
        return wrong

    assert asyncio.run(work()) == []
    assert len(REQUESTS) > 100
