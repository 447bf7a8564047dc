"""840 small objects, and what a real API server (Kubernetes 1.36.2) said when each was made.

Refused, and which fields were wrong; or accepted, and the object with the values that were filled in.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from kcompile.errors import InputError, SpecError
from kcompile.spec.allocate import allocate
from kcompile.spec.decode import without_nulls
from kcompile.spec.inventory import Inventory
from kcompile.spec.load import load
from kcompile.spec.objects import Endpoints, EndpointSlice, Object, Pod, Service, ServicePort
from kcompile.spec.validate import validate

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data/verdicts.jsonl").read_text().splitlines()]
DOCS = Path(__file__).resolve().parents[3] / "docs/reference/input.md"
CIDRS = ("10.0.0.0/8", "fd00::/112")
LISTS = {"Service": "services", "EndpointSlice": "endpoint_slices", "Endpoints": "endpoints", "Pod": "pods"}
TYPES: dict[str, type[Object]] = {
    "Service": Service,
    "EndpointSlice": EndpointSlice,
    "Endpoints": Endpoints,
    "Pod": Pod,
}


class OnPurpose(NamedTuple):
    """Rows whose verdict differs: what kcompile does, and why, as the table of docs/reference/input.md has
    it.
    """

    verdict: str
    variants: tuple[str, ...]
    why: str


DIFFERENCES = (
    OnPurpose(
        "accepted",
        ("pod containers=[]",),
        "A Pod stands for its addresses; its containers are only asked for named ports.",
    ),
    OnPurpose(
        "refused",
        ("slice ports [{'port': 70000}]",),
        "No packet has such a port, and the rules would not load.",
    ),
    OnPurpose(
        "refused",
        (
            "svc status {'ip': '127.0.0.1'}",
            "svc status {'hostname': 'a_b'}",
            "svc status {'hostname': 'a.b', 'ipMode': 'VIP'}",
        ),
        "The API drops the status of an object that is made; kcompile reads objects "
        "with the status that a cluster gave them.",
    ),
)
BY_VARIANT = {variant: difference for difference in DIFFERENCES for variant in difference.variants}


def checked(folder: Path, manifest: dict[str, Any]) -> Inventory:
    path = folder / "object.json"
    path.write_text(json.dumps(manifest))
    inventory = load([str(path)])
    validate(inventory)
    allocate(inventory.services, service_cidrs=CIDRS)
    return inventory


def as_object(manifest: dict[str, Any]) -> Any:
    return msgspec.convert(without_nulls(manifest), TYPES[manifest["kind"]])


def names_the_field(field: str, fields: list[str]) -> bool:
    """Whether `field` is one of `fields`, or a key or an entry inside of it. The API has one in capitals."""
    known = [
        name.replace("spec.LoadBalancerSourceRanges", "spec.loadBalancerSourceRanges") for name in fields
    ]
    return any(field == name or field.startswith((f"{name}.", f"{name}[")) for name in known)


def test_there_are_as_many_rows_as_a_server_was_asked():
    verdicts = [row["verdict"] for row in ROWS]
    assert (len(ROWS), verdicts.count("accepted"), verdicts.count("refused")) == (840, 268, 572)
    assert set(BY_VARIANT) <= {row["variant"] for row in ROWS}


@pytest.mark.parametrize("kind", LISTS)
def test_every_object_is_taken_or_refused_as_by_the_server(tmp_path, kind):
    wrong = []
    for row in ROWS:
        if row["input"]["kind"] != kind:
            continue
        difference = BY_VARIANT.get(row["variant"])
        try:
            checked(tmp_path, row["input"])
        except InputError as error:
            verdict, detail = "refused", str(error)
            if (
                not difference
                and isinstance(error, SpecError)
                and not names_the_field(error.field, row.get("fields", []))
            ):
                wrong.append((row["variant"], row.get("fields"), detail))
        else:
            verdict, detail = "accepted", ""
        if (verdict != row["verdict"]) != (difference is not None) or (
            difference and verdict != difference.verdict
        ):
            wrong.append((row["variant"], row["verdict"], detail))
    assert wrong == []


def plain(value: Any) -> Any:
    """`value` as plain values, without what is empty: to the API that is the same as what isn't there."""
    if isinstance(value, msgspec.Struct):
        return {
            field: found
            for field in value.__struct_fields__
            if (found := plain(getattr(value, field))) not in (None, "", 0, [], {})
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def allocated(given: Service, service: Service) -> None:
    """Put a mark in place of the values that were free to choose in `service`, made from `given`."""
    spec = service.spec
    if not given.spec.cluster_ip and spec.cluster_ip:
        spec.cluster_ip = mark(spec.cluster_ip)
    spec.cluster_ips = [
        mark(each) if each not in (given.spec.cluster_ip, "None") else each for each in spec.cluster_ips or ()
    ]
    for port, other in zip(spec.ports, given.spec.ports, strict=True):
        port.node_port = mark_port(port, other)
    if spec.health_check_node_port and not given.spec.health_check_node_port:
        spec.health_check_node_port = 1


def mark(address: str) -> str:
    return "some IPv6" if ":" in address else "some IPv4"


def mark_port(port: ServicePort, given: ServicePort) -> int:
    return 1 if port.node_port and not given.node_port else port.node_port


def test_defaults_are_the_servers_in_every_field_that_is_read(tmp_path):
    compared, wrong = 0, []
    for row in ROWS:
        if "defaulted" not in row or row["variant"] in BY_VARIANT:
            continue
        kind = row["input"]["kind"]
        (mine,) = getattr(checked(tmp_path, row["input"]), LISTS[kind])
        given, theirs = as_object(row["input"]), as_object(row["defaulted"])
        if isinstance(mine, Service):
            mine.status = None  # the API drops it
            theirs.status = None
            allocated(given, mine)
            allocated(given, theirs)
        mine.origin = theirs.origin
        compared += 1
        if plain(mine) != plain(theirs):
            wrong.append((row["variant"], plain(mine), plain(theirs)))
    assert wrong == []
    assert compared == sum("defaulted" in row for row in ROWS) - sum(
        variant.startswith("svc") for variant in BY_VARIANT
    )


def test_the_reference_lists_every_difference():
    text = DOCS.read_text()
    assert [difference.why for difference in DIFFERENCES if f"| {difference.why} |" not in text] == []
    table = text.partition("## Differences from the API server")[2].partition("\n## ")[0]
    assert sum(line.startswith("| ") for line in table.splitlines()) - 2 == len(DIFFERENCES)
