"""What the controllers and the scheduler of a cluster would do: Deployments to Pods, Pods to nodes and
addresses. Pure but for dice.
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

__all__ = ["Changes", "changes", "decoded", "new_pod", "origin_of", "place", "pod_manifest", "reported"]

T = TypeVar("T")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # rand.SafeEncodeString of apimachinery: no vowels, so no words


class Changes(NamedTuple):
    """Pods to make (not placed yet) and Pods to remove."""

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
    """Keys of Pods that a cluster made and reported, which a Deployment among `objects` makes anew: the lab
    leaves them out.
    """
    selectors = [
        (key.split("/")[1], decoded(Deployment, stored).spec.selector.match_labels or {})
        for key, stored in objects.items()
        if key.startswith("Deployment/")
    ]
    found = set()
    for key, stored in objects.items():
        kind, namespace, _ = key.split("/")
        labels = (stored.manifest["metadata"].get("labels") or {}).items()
        if kind == "Pod" and any(
            namespace == space and wanted and wanted.items() <= labels for space, wanted in selectors
        ):
            found.add(key)
    return found


def changes(state: LabState) -> Changes:
    """What is missing and what is too much, by the objects of `state`.

    A changed template replaces every Pod made from the old one.
    """
    make: list[PodState] = []
    wanted: set[str] = set()
    for key, stored in state.objects.items():
        kind, namespace, name = key.split("/")
        if kind == "Deployment":
            deployment = decoded(Deployment, stored)
            template: dict[str, Any] = stored.manifest["spec"]["template"]
            digest = _hash(template)
            owner = f"{namespace}/{name}"
            replicas = 1 if deployment.spec.replicas is None else deployment.spec.replicas
            there = [pod for pod in state.pods if pod.owner == owner and pod.hash == digest]
            wanted.update(
                pod.key for pod in sorted(there, key=lambda pod: (not pod.ready, pod.created))[:replicas]
            )
            names = [f"{name}-{digest}-{_letters(5)}" for _ in range(replicas - len(there))]
            make += [new_pod(namespace, each, template, owner=owner, digest=digest) for each in names]
        elif kind == "Pod":
            digest = _hash(stored.manifest)
            there = [
                pod
                for pod in state.pods
                if not pod.owner and pod.key == f"{namespace}/{name}" and pod.hash == digest
            ]
            wanted.update(pod.key for pod in there)
            if not there:
                make.append(new_pod(namespace, name, stored.manifest, digest=digest))
    return Changes(make, [pod for pod in state.pods if pod.key not in wanted])


def new_pod(
    namespace: str, name: str, template: Mapping[str, Any], *, owner: str = "", digest: str = ""
) -> PodState:
    """A Pod from `template`, not placed yet."""
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


def place(state: LabState, pod: PodState) -> None:
    """Give `pod` a node and addresses. Raises ConfigError where there is none for it."""
    spec = decoded(PodManifest, Stored(pod.manifest)).spec
    fit = [
        node
        for node in state.nodes
        if (not spec.node_name or node.name == spec.node_name)
        and (spec.node_selector or {}).items() <= node.labels.items()
    ]
    if not fit:
        raise ConfigError(
            f"Pod {pod.key}: no node has its nodeName or nodeSelector; there are {', '.join(n.name for n in state.nodes)}"
        )
    brothers = Counter(other.node for other in state.pods if other.owner == pod.owner)
    everyone = Counter(other.node for other in state.pods)
    node = min(fit, key=lambda node: (brothers[node.name], everyone[node.name]))
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
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(10))


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
