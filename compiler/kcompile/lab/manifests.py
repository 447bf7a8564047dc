"""Reads manifests from files and keeps them as written; each use decodes them again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from ..errors import SpecError
from ..notices import Notice
from ..spec.decode import Decoder
from ..spec.inventory import Inventory, Skipped
from ..spec.objects import Origin
from ..spec.reader import MAX_BYTES, STDIN, Unreadable, check_text, files, read
from ..spec.skipped import skipped_notices
from ..spec.text import Wrong, printable
from ..spec.validate import validate
from ..spec.yaml_reader import yaml_documents

__all__ = ["Manifest", "inventory_of", "read_manifests", "title"]

_CLUSTER_SCOPED = ("Node", "Namespace", "ServiceCIDR")
_KINDS = {
    "Namespace": "",
    "Node": "",
    "ServiceCIDR": "",
    "Service": "",
    "Pod": "",
    "ConfigMap": "",
    "Secret": "",
    "Endpoints": "",
    "EndpointSlice": "",
    "Deployment": ".apps",
}
"""The kinds that a lab reads, each with the API group that kubectl prints."""


class Manifest(NamedTuple):
    """One object. `key` is ``Kind/namespace/name``, the namespace empty where the kind has none."""

    key: str
    value: dict[str, Any]
    origin: Origin


def title(key: str) -> str:
    """A key as kubectl prints it: ``deployment.apps/web``."""
    kind, _, name = key.split("/")
    return f"{kind.lower()}{_KINDS[kind]}/{name}"


def read_manifests(
    paths: Sequence[str], stdin: BinaryIO | None = None
) -> tuple[list[Manifest], list[Notice]]:
    """Every object of `paths`, in order; and a warning for each file that has kinds that a lab doesn't read.

    Raises SpecError.
    """
    found: list[Manifest] = []
    skipped: list[Skipped] = []
    number, source = 0, ""
    try:
        for path in files(paths):
            number, source = 0, STDIN if path == "-" else path
            for number, document in yaml_documents(check_text(read(path, stdin, MAX_BYTES))):
                for value in _items(document, number):
                    manifest = _manifest(value, Origin(source, number))
                    if manifest.key.partition("/")[0] in _KINDS:
                        found.append(manifest)
                    else:
                        kind = f"{value.get('apiVersion')}/{value['kind']}"
                        skipped.append(Skipped(manifest.origin, printable(kind), printable(manifest.key)))
    except Unreadable as error:
        raise SpecError(error.message, source=error.source) from None
    except Wrong as error:
        raise SpecError(
            error.message, source=printable(source), document=error.document or number, field=error.field
        ) from None
    return found, skipped_notices(skipped)


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


def _manifest(value: dict[str, Any], origin: Origin) -> Manifest:
    kind, metadata = value.get("kind"), value.get("metadata")
    if not isinstance(kind, str) or not kind:
        raise Wrong("this field is required", document=origin.document, field="kind")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise Wrong(f"{kind}: a name is required", document=origin.document, field="metadata.name")
    namespace = "" if kind in _CLUSTER_SCOPED else metadata.get("namespace") or "default"
    value = copy.deepcopy(value)
    if namespace:
        value["metadata"]["namespace"] = namespace
    if kind not in ("Node", "Service"):
        value.pop("status", None)
    return Manifest(f"{kind}/{namespace}/{metadata['name']}", value, origin)


def inventory_of(manifests: Sequence[Manifest]) -> Inventory:
    """The objects of `manifests` that rules and DNS are made from, checked as ``kcompile apply`` checks them.

    Raises SpecError.
    """
    inventory = Inventory()
    decoder = Decoder(inventory)
    for manifest in manifests:
        decoder.add(manifest.value, manifest.origin)
    validate(inventory)
    return inventory
