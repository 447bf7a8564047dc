"""Fields that the API doesn't have, keys that come twice, and what is no business of ours."""

import json
import typing
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_manifests import random_manifests
from kcompile.errors import SpecError
from kcompile.spec import fields
from kcompile.spec.inventory import Inventory
from kcompile.spec.load import load
from kcompile.spec.objects import Origin
from kcompile.spec.registry import KINDS

from .make import pod, service, slice_of

POLICY = "externalTrafficPolicy"
FORMS = {"json": json.dumps, "pretty": lambda value: json.dumps(value, indent=2), "yaml": yaml.safe_dump}
PORTS = {"ports": [{"port": 80}]}
UNNAMED = {"ports": [{"port": 80, "name": ""}]}
STORED = {
    "uid": "1",
    "resourceVersion": "7",
    "generation": 2,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:ports": {}}}}],
    "ownerReferences": [
        {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "1", "controller": True}
    ],
}


def loaded(folder, text: str, **options: Any) -> Inventory:
    path = folder / "input"
    path.write_text(text)
    return load([str(path)], **options)


def warned(inventory: Inventory) -> list[tuple[str, str, str]]:
    return [(notice.id, notice.field, notice.text) for notice in inventory.warnings]


def unknown(field: str, meant: str = "") -> tuple[str, str, str]:
    return ("unknown-field", field, f"unknown field, did you mean {meant}?" if meant else "unknown field")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"spec": {"ports": [{"port": 80, "nodeport": 30080}]}},
            [unknown("spec.ports[0].nodeport", "nodePort")],
        ),
        (
            {"spec": {**PORTS, "externalTrafficpolicy": "Local"}},
            [unknown("spec.externalTrafficpolicy", POLICY)],
        ),
        ({"spec": {**PORTS, "selectors": {"a": "b"}}}, [unknown("spec.selectors", "selector")]),
        ({"spec": {**PORTS, "zzz": {"port": 1}}}, [unknown("spec.zzz")]),
        ({"metadata": {"name": "web", "lables": {}}}, [unknown("metadata.lables", "labels")]),
        ({"x y": 1}, [unknown('["x y"]')]),
        (
            {"metadata": {"name": "web", "ownerReferences": [{"knid": "A"}]}},
            [unknown("metadata.ownerReferences[0].knid", "kind")],
        ),
        ({"metadata": {"name": "web", **STORED}}, []),
        ({"metadata": {"name": "web", "selfLink": "/x", "clusterName": ""}}, []),
        ({"spec": {**PORTS, "topologyKeys": ["*"], "ipFamily": "IPv4", "loadBalancerIP": "1.2.3.4"}}, []),
        ({"spec": {**UNNAMED, "clusterIP": None, "publishNotReadyAddresses": False}}, []),
    ],
)
def test_fields_of_a_service(tmp_path, form, change, found):
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]},
    }
    assert warned(loaded(tmp_path, FORMS[form]({**manifest, **change}))) == found


@pytest.mark.parametrize("form", FORMS)
def test_every_level_of_a_template_is_known(tmp_path, form):
    container = {
        "name": "c",
        "image": "i",
        "livenessProbe": {"httpGet": {"port": "http", "pth": "/"}},
        "resources": {"limits": {"cpu": "1"}},
    }
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container], "nodeSelectr": {}}}
    objects = [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": f"x{number}"},
            "spec": {"template": template, **more},
        }
        for number, (version, kind, more) in enumerate(
            [
                ("apps/v1", "StatefulSet", {"serviceName": "x"}),
                ("apps/v1beta1", "Deployment", {"rollbackTo": {"revision": 1}}),
                ("extensions/v1beta1", "DaemonSet", {"templateGeneration": 1}),
            ]
        )
    ]
    found = warned(loaded(tmp_path, FORMS[form]({"apiVersion": "v1", "kind": "List", "items": objects})))
    each = [
        unknown("spec.template.spec.containers[0].livenessProbe.httpGet.pth", "path"),
        unknown("spec.template.spec.nodeSelectr", "nodeSelector"),
    ]
    assert sorted(found) == sorted(each * 3)


def test_strict_refuses_and_ignore_is_quiet(tmp_path):
    text = json.dumps(service(ports=[{"port": 80, "prot": "UDP"}]))
    assert warned(loaded(tmp_path, text, validate="ignore")) == []
    with pytest.raises(SpecError, match="unknown field") as caught:
        loaded(tmp_path, text, validate="strict")
    assert (caught.value.obj, caught.value.field) == ("Service demo/web", "spec.ports[0].prot")
    with pytest.raises(SpecError, match="duplicate key"):
        loaded(
            tmp_path,
            '{"apiVersion":"v1","kind":"Pod","kind":"Pod","metadata":{"name":"a"}}',
            validate="ignore",
        )


OTHER_GROUPS = [
    ("serving.knative.dev", "Service"),
    ("crd.projectcalico.org", "Node"),
    ("a.example", "Endpoints"),
    ("b.example", "Pod"),
    ("metrics.k8s.io", "Namespace"),
    ("multicluster.x-k8s.io", "Deployment"),
]


@pytest.mark.parametrize("form", FORMS)
def test_other_groups_are_skipped(tmp_path, form):
    wrong = {"template": 1, "ports": "x"}
    objects = [
        {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "x"}, "spec": wrong}
        for group, kind in OTHER_GROUPS
    ]
    inventory = loaded(
        tmp_path, FORMS[form]({"apiVersion": "v1", "kind": "List", "items": [*objects, service()]})
    )
    assert [skipped.kind for skipped in inventory.skipped] == [
        f"{each['apiVersion']}/{each['kind']}" for each in objects
    ]
    assert (len(inventory.services), inventory.warnings) == (1, [])


def test_old_slices_have_their_node_and_zone_in_a_topology(tmp_path):
    labels = {"kubernetes.io/hostname": "node-a", "topology.kubernetes.io/zone": "zone-a"}
    old = slice_of(
        {"addresses": ["10.0.0.1"], "topology": labels},
        {"addresses": ["10.0.0.2"], "nodeName": "node-b", "topology": labels},
    )
    inventory = loaded(tmp_path, json.dumps({**old, "apiVersion": "discovery.k8s.io/v1beta1"}))
    (found,) = inventory.endpoint_slices
    assert [(endpoint.node_name, endpoint.zone) for endpoint in found.endpoints] == [
        ("node-a", "zone-a"),
        ("node-b", "zone-a"),
    ]
    assert found.describe() == "EndpointSlice demo/web-1"
    assert inventory.warnings == []


def test_one_object_in_two_versions_is_one(tmp_path):
    old = {**slice_of({"addresses": ["10.0.0.1"]}), "apiVersion": "discovery.k8s.io/v1beta1"}
    text = f"{json.dumps(old)}\n{json.dumps(slice_of({'addresses': ['10.0.0.1']}))}"
    assert len(loaded(tmp_path, text).endpoint_slices) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","labels":{"a":"b","a":"c"}}}',
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: {a: b, a: c}}\n",
    ],
)
def test_a_duplicate_key_elsewhere_is_a_warning(tmp_path, text):
    inventory = loaded(tmp_path, text)
    assert [(notice.id, notice.object, notice.field) for notice in inventory.warnings] == [
        ("duplicate-key", "Secret s", "metadata.labels.a")
    ]
    assert len(inventory.skipped) == 1


def test_a_list_of_yaml_gives_each_item_its_own_duplicates(tmp_path):
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s, name: t}}\n"
        "- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}\n"
    )
    inventory = loaded(tmp_path, text)
    assert [(notice.object, notice.field) for notice in inventory.warnings] == [("Secret t", "metadata.name")]
    assert len(inventory.services) == 1


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_list_may_have_anything_beside_its_items(tmp_path, form):
    metadata = {"resourceVersion": "1", "remark": 'no "items": [here]'}
    text = FORMS[form](
        {"apiVersion": "v1", "metadata": metadata, "kind": "List", "items": [service()], "more": 1}
    )
    assert len(loaded(tmp_path, text).services) == 1


def structs(cls: Any, seen: dict[Any, None]) -> dict[Any, None]:
    """`cls` and every struct that its fields are made of."""
    if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls not in seen:
        seen[cls] = None
        for field in msgspec.structs.fields(cls):
            structs(field.type, seen)
    for inner in typing.get_args(cls):
        structs(inner, seen)
    return seen


def test_every_field_that_is_read_is_one_of_the_api():
    """A misspelt field of objects.py would never be filled, and no test of its own could tell."""
    known = fields._schema()
    names = {name for types in known.types.values() for name in types}
    for kind in KINDS.values():
        top = known.types[known.kinds[kind.schema]]
        assert {field.encode_name for field in msgspec.structs.fields(kind.cls)} - {" origin"} <= set(top)
        for cls in set(structs(kind.cls, {Origin: None})) - {Origin}:
            assert {field.encode_name for field in msgspec.structs.fields(cls)} - {" origin"} <= names, cls
    assert fields.schema_version() == "1.36.2"


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_field_too_many_and_a_key_twice_are_found_anywhere(tmp_path_factory, rng, blanks):
    """In any mapping of any object, however it is written."""
    manifest = rng.choice(
        [
            each
            for each in [*random_manifests(rng, 2), pod()]
            if each["kind"] in ("Service", "Pod", "EndpointSlice")
        ]
    )
    manifest = json.loads(json.dumps(manifest))
    folder = tmp_path_factory.mktemp("input")
    assert loaded(folder, json.dumps(manifest)).warnings == []
    text = json.dumps(manifest, indent=1) if blanks else json.dumps(manifest, separators=(",", ":"))
    opening = rng.choice(
        [at for at, letter in enumerate(text) if letter == "{" and text[at + 1 :].lstrip()[0] == '"']
    )
    key, _, rest = text[opening + 1 :].lstrip()[1:].partition('"')
    value = json.JSONDecoder().raw_decode(rest.lstrip()[1:].lstrip())[0]
    with pytest.raises(SpecError, match="duplicate key"):
        loaded(folder, f'{text[: opening + 1]}"{key}":{json.dumps(value)},{text[opening + 1 :]}')


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion":"a.example/v1","kind":"WidgetList","items":[],"metadata":{},"items":[]}',
        "apiVersion: a.example/v1\nkind: WidgetList\nitems: []\nmetadata: {}\nitems: []\n",
        (
            "apiVersion: a.example/v1\nkind: WidgetList\nitems: []\n"
            "items: [{metadata: {name: a}, spec: {}, spec: {}}]\n"
        ),
    ],
)
def test_a_list_of_what_is_not_read_may_have_a_key_twice(tmp_path, text):
    assert {notice.id for notice in loaded(tmp_path, text).warnings} == {"duplicate-key"}


def test_many_objects_without_a_name_each_get_one(tmp_path):
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"}, "spec": {}}
    inventory = loaded(tmp_path, json.dumps({"apiVersion": "v1", "kind": "List", "items": [manifest] * 3000}))
    assert len({pod.metadata.name for pod in inventory.pods}) == 3000
