"""Paths, formats and kinds into an Inventory."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os

import pytest
import yaml

from kcompile.errors import SpecError
from kcompile.spec.inventory import Skipped
from kcompile.spec.load import load
from kcompile.spec.objects import Origin

from .make import endpoint, node, pod, service, slice_of, write


def names(found) -> list[str]:
    return [service.metadata.name for service in found.services]


def test_yaml_and_json_give_the_same(tmp_path):
    objects = [
        service(),
        slice_of(endpoint(conditions={"ready": True})),
        pod(deleted=True),
        node(podCIDR="10.244.0.0/24"),
    ]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(objects))
    (tmp_path / "b.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    from_yaml, from_json = (load([str(tmp_path / name)]) for name in ("a.yaml", "b.json"))
    for attribute in ("services", "endpoint_slices", "pods", "nodes"):
        (one,), (two,) = getattr(from_yaml, attribute), getattr(from_json, attribute)
        assert one.origin != two.origin
        two.origin = one.origin
        assert one == two
    assert from_yaml.pods[0].metadata.deletion_timestamp == "2026-01-01T00:00:00Z"


def test_a_timestamp_without_quotes_stays_text(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "{apiVersion: v1}".strip("{}")
        + "\nkind: Pod\nmetadata: {name: p, deletionTimestamp: 2026-01-01T00:00:00Z}\n"
    )
    assert load([str(tmp_path / "a.yaml")]).pods[0].metadata.deletion_timestamp == "2026-01-01T00:00:00Z"


def test_a_folder_is_read_in_order_without_its_folders(tmp_path):
    for name, file in (("b", "1.json"), ("a", "2.yml"), ("c", "3.yaml"), ("d", "notes.txt"), ("e", "4.YAML")):
        write(tmp_path / file, service(name))
    (tmp_path / "0.yaml").mkdir()
    write(tmp_path / "0.yaml" / "x.yaml", service("x"))
    assert names(load([str(tmp_path)])) == ["b", "a", "c"]


def test_standard_input():
    found = load(["-"], stdin=io.BytesIO(json.dumps(service()).encode()))
    assert found.services[0].origin == Origin("<stdin>", 1)


def test_a_stream_of_json_values(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        "  "
        + json.dumps(service("a"))
        + json.dumps(service("b"), indent=1)
        + "\n\n"
        + json.dumps(service("c"))
        + "\n"
    )
    assert [(s.metadata.name, s.origin.document) for s in load([str(path)]).services] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]


def test_json_between_yaml_marks(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        json.dumps(service("a"))
        + "\n---\n"
        + json.dumps(service("b"))
        + "\n---\n"
        + yaml.safe_dump(service("c"))
    )
    assert [(s.metadata.name, s.origin.document) for s in load([str(path)]).services] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n---\n", "\ufeff", " "])
def test_nothing_is_fine(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    assert names(load([str(tmp_path / "a.yaml")])) == []


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(service()).encode())
    assert names(load([str(tmp_path)])) == ["web"]


@pytest.mark.parametrize("encode", [json.dumps, yaml.safe_dump])
def test_typed_lists_imply_the_kind_of_their_items(encode, tmp_path):
    items = [
        {key: value for key, value in service(name).items() if key not in ("kind", "apiVersion")}
        for name in "ab"
    ]
    listed = {"apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": items}
    nested = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [listed, service("c"), {"apiVersion": "v1", "kind": "List", "items": None}],
    }
    (tmp_path / "a.yaml").write_text(encode(nested))
    assert names(load([str(tmp_path)])) == ["a", "b", "c"]


@pytest.mark.parametrize("encode", [json.dumps, yaml.safe_dump])
def test_other_kinds_are_noted(encode, tmp_path):
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": "db", "namespace": "shop"},
        },
        {"apiVersion": "v1", "kind": "Secret"},
    ]
    path = tmp_path / "a.yaml"
    path.write_text(encode({"apiVersion": "v1", "kind": "List", "items": objects}))
    origin = Origin(str(path), 1)
    assert load([str(path)]).skipped == [
        Skipped(origin, "v1/ReplicationController", "shop/db"),
        Skipped(origin, "v1/Secret", ""),
    ]


@pytest.mark.parametrize("encode", [json.dumps, yaml.safe_dump])
def test_null_is_unset(encode, tmp_path):
    manifest = service(
        ports=[{"port": 80, "name": None, "protocol": None, "nodePort": None}], type=None, externalIPs=None
    )
    manifest["metadata"] |= {"creationTimestamp": None, "labels": None}
    (tmp_path / "a.yaml").write_text(encode(manifest))
    (found,) = load([str(tmp_path)]).services
    assert (found.spec.type, found.spec.ports[0].protocol, found.spec.ports[0].node_port) == (
        "ClusterIP",
        "TCP",
        0,
    )


def test_the_namespace_defaults_and_cluster_scoped_kinds_have_none(tmp_path):
    manifest = service()
    del manifest["metadata"]["namespace"]
    found = load([write(tmp_path / "a.json", manifest, node())])
    assert found.services[0].describe() == "Service default/web"
    assert found.nodes[0].describe() == "Node node-a"
    assert found.nodes[0].metadata.namespace == ""


def test_the_same_object_twice_is_kept_once(tmp_path):
    path = write(tmp_path / "a.json", service(), service(), service(namespace="other"), pod("web"))
    found = load([path, path])
    assert [s.key for s in found.services] == ["demo/web", "other/web"]
    assert found.services[0].origin.document == 1


def test_a_manifest_can_not_set_the_origin(tmp_path):
    found = load(
        [write(tmp_path / "a.json", {**service(), "origin": {"source": "elsewhere", "document": 9}})]
    )
    assert found.services[0].origin.source.endswith("a.json")


@pytest.mark.parametrize("size", [10, 11])
def test_the_limit_holds_for_files_and_pipes(size, tmp_path):
    text = b" " * size
    (tmp_path / "a.yaml").write_bytes(text)
    for path, stdin in ((str(tmp_path / "a.yaml"), None), ("-", io.BytesIO(text))):
        if size == 10:
            load([path], stdin=stdin, max_bytes=10)
        else:
            with pytest.raises(SpecError, match="limit"):
                load([path], stdin=stdin, max_bytes=10)


def test_an_unreadable_file(tmp_path):
    (tmp_path / "a.yaml").write_text("{}")
    (tmp_path / "a.yaml").chmod(0)
    # Root reads every file; the kernel's own write-only ones will do.
    path = "/proc/self/clear_refs" if os.access(tmp_path / "a.yaml", os.R_OK) else str(tmp_path / "a.yaml")
    with pytest.raises(SpecError) as caught:
        load([path])
    assert caught.value.source == path


def test_a_name_of_a_file_that_breaks_lines(tmp_path):
    path = tmp_path / "a\nb.yaml"
    path.write_text("[")
    with pytest.raises(SpecError) as caught:
        load([str(path)])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_before(enabled, tmp_path):
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        for text in ("", "["):
            (tmp_path / "a.yaml").write_text(text)
            with contextlib.suppress(SpecError):
                load([str(tmp_path)])
            assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
