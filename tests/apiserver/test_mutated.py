"""Values where they don't belong, by every verb: refused or taken, but never an error of the server."""

import asyncio
import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from harness.apiclient import client
from kcompile.apiserver import Store, serve

SEED, ROUNDS = 20, 40
POD = {
    "nodeName": "n1",
    "containers": [
        {
            "name": "c",
            "image": "i",
            "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": "1"}},
        }
    ],
    "initContainers": [{"name": "i", "image": "x"}],
    "volumes": [{"name": "v", "configMap": {"name": "c"}}],
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
LABELS = {"a": "b"}
SELECTOR = {"matchLabels": LABELS, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
WORKLOAD = {"selector": SELECTOR, "template": TEMPLATE, "replicas": 2}
OBJECTS: dict[str, dict[str, Any]] = {
    "/api/v1/namespaces/default/pods": {"spec": POD},
    "/apis/apps/v1/namespaces/default/deployments": {"spec": WORKLOAD | {"strategy": {"rollingUpdate": {}}}},
    "/apis/apps/v1/namespaces/default/statefulsets": {"spec": WORKLOAD | {"updateStrategy": {}}},
    "/apis/apps/v1/namespaces/default/daemonsets": {"spec": WORKLOAD},
    "/apis/batch/v1/namespaces/default/jobs": {
        "spec": {"template": {"spec": POD | {"restartPolicy": "Never"}}}
    },
    "/api/v1/namespaces/default/services": {
        "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": "http"}], "selector": LABELS}
    },
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    },
    "/api/v1/namespaces/default/configmaps": {"data": LABELS, "binaryData": {"c": "AA=="}},
    "/api/v1/namespaces/default/secrets": {"stringData": LABELS, "data": {"c": "AA=="}},
    "/api/v1/namespaces/default/events": {
        "involvedObject": {"kind": "Pod", "name": "p"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "c"},
        "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
    },
    "/api/v1/nodes": {"spec": {"podCIDR": "10.0.0.0/24", "taints": [{"key": "a", "effect": "NoSchedule"}]}},
    "/api/v1/namespaces": {},
    "/api/v1/namespaces/default/serviceaccounts": {},
}
STATUS = {
    "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [
        {
            "name": "c",
            "ready": True,
            "restartCount": 1,
            "state": {"waiting": {"reason": "x"}},
            "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}},
        }
    ],
    "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
    "startTime": "2026-01-01T00:00:00Z",
    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
}
DELETION = {
    "gracePeriodSeconds": 5,
    "propagationPolicy": "Orphan",
    "preconditions": {"uid": "a"},
    "dryRun": ["All"],
}
SCALE = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
ASKED = {"target": {"kind": "Node", "name": "n1"}, "deleteOptions": DELETION, "spec": {"audiences": ["a"]}}
VALUES = [None, "", 0, -1, 2.5, True, [], {}, "x", [1], {"a": 1}, [None], ["a", {}], 10**30, {"name": None}]
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key)
        yield from places(each, (*path, key))


def mutated(obj: Any, chance: random.Random) -> Any:
    """`obj` with another value somewhere."""
    made = copy.deepcopy(obj)
    *way, last = chance.choice(list(places(made)))
    inside = made
    for key in way:
        inside = inside[key]
    inside[last] = copy.deepcopy(chance.choice(VALUES))
    return made


def requests(chance: random.Random) -> Iterator[tuple[str, str, Any, dict[str, str]]]:
    path, rest = chance.choice(list(OBJECTS.items()))
    obj = {"metadata": {"name": "x", "labels": LABELS, "finalizers": ["example.com/a"]}, **rest}
    one = f"{path}/x"
    yield "POST", f"{path}?fieldValidation={chance.choice(['Warn', 'Strict'])}", mutated(obj, chance), {}
    yield "POST", path, obj, {}
    yield "PUT", one, mutated(obj, chance), {}
    yield "PUT", f"{one}/status", mutated({**obj, "status": STATUS}, chance), {}
    for form in ("merge-patch", "strategic-merge-patch"):
        body = json.dumps(mutated(obj, chance)).encode()
        yield (
            "PATCH",
            f"{one}{chance.choice(['', '/status', '/scale'])}",
            body,
            {"Content_Type": f"application/{form}+json"},
        )
    place = "/".join(map(str, chance.choice(list(places(obj)))))
    verb = chance.choice(["add", "remove", "replace", "move"])
    operation = {"op": verb, "path": f"/{place}", "from": "/metadata", "value": chance.choice(VALUES)}
    yield "PATCH", one, json.dumps([operation]).encode(), {"Content_Type": "application/json-patch+json"}
    yield "GET", path, None, TABLE
    yield "PUT", f"{one}/scale", mutated(SCALE, chance), {}
    yield "POST", f"{one}/{chance.choice(['eviction', 'binding', 'token'])}", mutated(ASKED, chance), {}
    yield "DELETE", one, mutated(DELETION, chance), {}
    yield "PATCH", one, b'{"metadata":{"finalizers":null}}', {"Content_Type": "application/merge-patch+json"}
    yield "DELETE", one, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}, {}


def test_no_value_in_a_wrong_place_is_an_error_of_the_server():
    chance = random.Random(SEED)

    async def work() -> list[Any]:
        failed = []
        async with serve(Store(controllers=True)) as server, client(server.url) as asking:
            for _ in range(ROUNDS):
                for method, path, body, headers in requests(chance):
                    answer = await asking.ask(method, path, body, **headers)
                    if answer.status >= 500:
                        failed.append((method, path, body, answer))
        return failed

    assert asyncio.run(work()) == []
