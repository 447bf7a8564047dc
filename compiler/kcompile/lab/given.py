"""Manifests that a user gives: read from files, checked as the API server will, before anything is sent."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ..apiserver import StatusError, Store
from ..apiserver.resources import BY_KIND
from ..errors import SpecError
from ..notices import Notice
from ..spec.cluster import ClusterSettings
from ..spec.decode import Decoder
from ..spec.inventory import Inventory, Skipped
from ..spec.objects import Origin
from ..spec.reader import MAX_BYTES, STDIN, Unreadable, check_text, files, read
from ..spec.skipped import skipped_notices
from ..spec.text import Wrong, printable
from ..spec.validate import validate
from ..spec.yaml_reader import yaml_documents
from .waiting import Named

__all__ = ["Given", "check", "inventory_of", "missing_namespaces", "read_given", "refused", "title"]


_CIDRS = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}}
_ALWAYS = (Named("Namespace", "", "default"), Named("Namespace", "", "kube-system"))


class Given(NamedTuple):
    """One object, with its namespace filled in where its kind has one."""

    value: dict[str, Any]
    origin: Origin

    @property
    def named(self) -> Named:
        meta = self.value["metadata"]
        return Named(self.value["kind"], meta.get("namespace", ""), meta["name"])


def title(obj: dict[str, Any]) -> str:
    """An object as kubectl prints it: ``deployment.apps/web``."""
    group, slash, _ = obj["apiVersion"].partition("/")
    return f"{obj['kind'].lower()}{'.' + group if slash else ''}/{obj['metadata']['name']}"


def read_given(
    paths: Sequence[str], namespace: str = "default", stdin: BinaryIO | None = None
) -> tuple[list[Given], list[Notice]]:
    """Every object of `paths`, Namespaces first; and a warning for each file with kinds that a lab lacks.

    `namespace`: of those that name none. Raises SpecError.
    """
    found: list[Given] = []
    skipped: list[Skipped] = []
    number, source = 0, ""
    try:
        for path in files(paths):
            number, source = 0, STDIN if path == "-" else path
            for number, document in yaml_documents(check_text(read(path, stdin, MAX_BYTES))):
                for value in _items(document, number):
                    _take(value, Origin(source, number), namespace, found, skipped)
    except Unreadable as error:
        raise SpecError(error.message, source=error.source) from None
    except Wrong as error:
        raise SpecError(
            error.message, source=printable(source), document=error.document or number, field=error.field
        ) from None
    found.sort(key=lambda each: each.value["kind"] != "Namespace")
    return _without_reported(found), skipped_notices(skipped)


def _items(document: Any, number: int) -> Iterator[dict[str, Any]]:
    if document is None:
        return
    if not isinstance(document, dict):
        raise Wrong("a manifest must be a mapping", document=number)
    if str(document.get("kind")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _items(item, number)
    else:
        yield document


def _take(
    value: dict[str, Any], origin: Origin, namespace: str, found: list[Given], skipped: list[Skipped]
) -> None:
    kind, meta = value.get("kind"), value.get("metadata")
    if not isinstance(kind, str) or not kind:
        raise Wrong("this field is required", document=origin.document, field="kind")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        raise Wrong(f"{kind}: a name is required", document=origin.document, field="metadata.name")
    resource = BY_KIND.get((str(value.get("apiVersion")), kind))
    if resource is None:
        name = f"{kind} {meta['name']}"
        skipped.append(Skipped(origin, printable(f"{value.get('apiVersion')}/{kind}"), printable(name)))
        return
    value = copy.deepcopy(value)
    if resource.namespaced:
        value["metadata"]["namespace"] = meta.get("namespace") or namespace
    else:
        value["metadata"].pop("namespace", None)
    if kind not in ("Node", "Service"):
        value.pop("status", None)
    found.append(Given(value, origin))


def _without_reported(given: Sequence[Given]) -> list[Given]:
    """The objects without the Pods that a Deployment among them selects: those ran in another cluster (as in
    `kubectl get pods -o yaml`), and this one makes its own.
    """
    selectors: list[tuple[str, dict[str, str]]] = []
    for each in given:
        if each.named.kind == "Deployment":
            selector = ((each.value.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
            selectors.append((each.named.namespace, selector))
    return [each for each in given if each.named.kind != "Pod" or not _is_selected(each, selectors)]


def _is_selected(pod: Given, selectors: Sequence[tuple[str, dict[str, str]]]) -> bool:
    labels = (pod.value["metadata"].get("labels") or {}).items()
    return any(
        namespace == pod.named.namespace and selector and selector.items() <= labels
        for namespace, selector in selectors
    )


def missing_namespaces(given: Sequence[Given]) -> list[str]:
    """The namespaces that the objects name, in order; those that a cluster has anyway are left out."""
    there = {each.named.name for each in given if each.named.kind == "Namespace"} | {
        each.name for each in _ALWAYS
    }
    names = dict.fromkeys(each.named.namespace for each in given if each.named.namespace)
    return [name for name in names if name not in there]


def check(given: Sequence[Given], cluster: ClusterSettings) -> None:
    """Raise SpecError, naming file, object and field, for what the API server of such a lab would refuse.

    What depends on the objects that a lab has already (a nodePort that is taken) isn't known here.
    """
    inventory_of(given)
    store = Store(node_port_range=cluster.node_port_range)
    store.create({**_CIDRS, "spec": {"cidrs": list(cluster.service_cidrs)}})
    for name in missing_namespaces(given):
        store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    seen: set[Named] = set()
    for each in given:
        try:
            if each.named in seen:
                store.update(each.value)
            elif each.named not in _ALWAYS:
                store.create(each.value)
        except StatusError as error:
            raise refused(each, error) from None
        seen.add(each.named)


def refused(each: Given, error: StatusError) -> SpecError:
    """What the API says of an object, with the file that it is from."""
    kind, namespace, name = each.named
    message, field = error.message, ""
    causes = list((error.details or {}).get("causes", []))
    if len(causes) == 1 and causes[0].get("field"):
        message, field = causes[0]["message"], causes[0]["field"]
    where = f"{namespace}/{name}" if namespace else name
    return SpecError(
        printable(message),
        source=printable(each.origin.source),
        document=each.origin.document,
        obj=printable(f"{kind} {where}"),
        field=field,
    )


def inventory_of(given: Sequence[Given]) -> Inventory:
    """The objects that rules and DNS are made from, checked as ``kcompile apply`` checks them.

    Raises SpecError.
    """
    inventory = Inventory()
    decoder = Decoder(inventory)
    for each in given:
        decoder.add(each.value, each.origin)
    validate(inventory)
    return inventory
