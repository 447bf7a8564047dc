"""The controllers and the scheduler of a lab: Deployments to Pods, Pods to nodes and addresses.

Pure but for random names.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..errors import ConfigError, SpecError
from ..spec.objects import Origin
from ..spec.text import explain, printable
from .objects import Deployment, PodManifest
from .state import LabState, NodeState, PodState, Stored

__all__ = ["Changes", "changes", "decoded", "new_pod", "origin_of", "pod_manifest", "reported", "schedule"]

T = TypeVar("T")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # rand.SafeEncodeString of apimachinery: no vowels, so no words


class Changes(NamedTuple):
    """Missing Pods to make (not scheduled yet) and surplus Pods to remove."""

    make: list[PodState]
    remove: list[PodState]


def decoded(kind: type[T], stored: Stored) -> T:
    """The manifest as a `kind`. Raises SpecError that names its file, object and field."""
    try:
        return msgspec.convert(stored.manifest, kind)
    except msgspec.ValidationError as error:
        wrong = explain(error, stored.manifest)
        metadata = stored.manifest["metadata"]
        name = f"{stored.manifest['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        raise SpecError(
            wrong.message,
            source=printable(stored.source),
            document=stored.document,
            obj=name,
            field=wrong.field,
        ) from None


def reported(objects: Mapping[str, Stored]) -> set[str]:
    """Keys of Pods that a Deployment of `objects` selects: of another cluster, the lab makes its own."""
    selectors: list[tuple[str, dict[str, str]]] = []
    for key, stored in objects.items():
        if key.startswith("Deployment/"):
            labels = decoded(Deployment, stored).spec.selector.match_labels
            selectors.append((key.split("/")[1], labels or {}))
    found = set()
    for key, stored in objects.items():
        kind, namespace, _ = key.split("/")
        if kind != "Pod":
            continue
        own = (stored.manifest["metadata"].get("labels") or {}).items()
        if any(namespace == each and wanted and wanted.items() <= own for each, wanted in selectors):
            found.add(key)
    return found


def changes(state: LabState) -> Changes:
    """Missing and surplus Pods, by the objects of `state`.

    A changed template replaces every Pod made from the old one.
    """
    make: list[PodState] = []
    keep: list[PodState] = []
    for key, stored in state.objects.items():
        kind, _, name = key.partition("/")
        if kind == "Deployment":
            kept, made = _of_deployment(state, name, stored)
        elif kind == "Pod":
            kept, made = _of_pod(state, name, stored)
        else:
            continue
        keep += kept
        make += made
    wanted = {pod.key for pod in keep}
    return Changes(make, [pod for pod in state.pods if pod.key not in wanted])


def _of_deployment(state: LabState, owner: str, stored: Stored) -> tuple[list[PodState], list[PodState]]:
    """The Pods of Deployment `owner` to keep, ready and old ones first, and those to make."""
    namespace, _, name = owner.partition("/")
    template: dict[str, Any] = stored.manifest["spec"]["template"]
    digest = _hash(template)
    replicas = decoded(Deployment, stored).spec.replicas
    count = 1 if replicas is None else replicas
    existing = [pod for pod in state.pods if pod.owner == owner and pod.hash == digest]
    existing.sort(key=lambda pod: (not pod.ready, pod.created))
    names = [f"{name}-{digest}-{_letters(5)}" for _ in range(count - len(existing))]
    made = [new_pod(namespace, each, template, owner=owner, digest=digest) for each in names]
    return existing[:count], made


def _of_pod(state: LabState, key: str, stored: Stored) -> tuple[list[PodState], list[PodState]]:
    """The Pod `key` to keep if it is of this manifest, else the one to make."""
    namespace, _, name = key.partition("/")
    digest = _hash(stored.manifest)
    existing = [pod for pod in state.pods if not pod.owner and pod.key == key and pod.hash == digest]
    made = [] if existing else [new_pod(namespace, name, stored.manifest, digest=digest)]
    return existing, made


def new_pod(
    namespace: str, name: str, template: Mapping[str, Any], *, owner: str = "", digest: str = ""
) -> PodState:
    """A Pod from `template`, not scheduled yet."""
    metadata = dict(template.get("metadata") or {})
    labels = dict(metadata.get("labels") or {}) | ({"pod-template-hash": digest} if owner else {})
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"name": name, "namespace": namespace, "labels": labels},
        "spec": dict(template["spec"]),
    }
    return PodState(
        namespace=namespace,
        name=name,
        node="",
        ips=[],
        manifest=manifest,
        owner=owner,
        hash=digest,
        created=round(time.time(), 3),
    )


def schedule(state: LabState, pod: PodState) -> None:
    """Assign `pod` a node and addresses. Raises ConfigError where no node fits or no address is left."""
    spec = decoded(PodManifest, Stored(pod.manifest)).spec
    selector = (spec.node_selector or {}).items()
    fit = [node for node in state.nodes if node.name == (spec.node_name or node.name)]
    fit = [node for node in fit if selector <= node.labels.items()]
    if not fit:
        names = ", ".join(node.name for node in state.nodes)
        raise ConfigError(f"Pod {pod.key}: no node has its nodeName or nodeSelector; there are {names}")
    of_owner = Counter(other.node for other in state.pods if other.owner == pod.owner)
    of_all = Counter(other.node for other in state.pods)
    node = min(fit, key=lambda node: (of_owner[node.name], of_all[node.name]))
    pod.node = node.name
    if spec.host_network:
        pod.ips = list(node.ips)
    else:
        pod.ips = _addresses(node, {ip for other in state.pods for ip in other.ips})
        pod.link = f"pod{node.next_link}"
        node.next_link += 1


def _addresses(node: NodeState, taken: Iterable[str]) -> list[str]:
    """The next free address of each family: the same number in each, so that a Pod's addresses look alike."""
    networks = [ip_network(cidr) for cidr in node.pod_cidrs]
    size = min(net.num_addresses for net in networks)
    for step in range(size):
        offset = (node.next_pod + step) % size
        addresses = [str(net[offset]) for net in networks]
        if 1 < offset < size - 1 and not set(addresses) & set(taken):
            node.next_pod = offset + 1
            return addresses
    raise ConfigError(f"node {node.name}: no address is left in {', '.join(node.pod_cidrs)}")


def pod_manifest(pod: PodState, node: NodeState) -> dict[str, Any]:
    """The Pod as an API server would show it: with its node and its status."""
    status = {
        "phase": "Running",
        "hostIP": node.ips[0],
        "podIP": pod.ips[0],
        "podIPs": [{"ip": ip} for ip in pod.ips],
        "conditions": [{"type": "Ready", "status": "True" if pod.ready else "False"}],
    }
    return pod.manifest | {"spec": pod.manifest["spec"] | {"nodeName": node.name}, "status": status}


def origin_of(stored: Stored) -> Origin:
    """Where the manifest was read."""
    return Origin(stored.source, stored.document)


def _hash(value: Any) -> str:
    number = int.from_bytes(
        hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=8).digest()
    )
    return "".join(_LETTERS[number // len(_LETTERS) ** digit % len(_LETTERS)] for digit in range(10))


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
