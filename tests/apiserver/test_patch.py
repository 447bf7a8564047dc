"""The three forms of a patch; strategic merge by the rules of apimachinery's strategicpatch."""

import pytest

from kcompile.apiserver import StatusError
from kcompile.apiserver.patch import patched
from kcompile.apiserver.schema import of_kind

POD, DEPLOYMENT, SERVICE = of_kind("v1", "Pod"), of_kind("apps/v1", "Deployment"), of_kind("v1", "Service")


def containers(*names: str) -> dict:
    return {"spec": {"containers": [{"name": name, "image": name} for name in names]}}


def named(obj: dict) -> list[tuple[str, str]]:
    return [(each["name"], each.get("image", "")) for each in obj["spec"]["containers"]]


STRATEGIC = [
    ("an item is merged", [{"name": "b", "image": "new"}], [("a", "a"), ("b", "new"), ("c", "c")]),
    ("a new item is the first", [{"name": "x"}], [("x", ""), ("a", "a"), ("b", "b"), ("c", "c")]),
    ("an item goes", [{"name": "b", "$patch": "delete"}], [("a", "a"), ("c", "c")]),
    ("all go but these", [{"$patch": "replace"}, {"name": "x"}], [("x", "")]),
]


@pytest.mark.parametrize(
    ("patch", "expected"), [row[1:] for row in STRATEGIC], ids=[row[0] for row in STRATEGIC]
)
def test_a_list_with_a_merge_key(patch, expected):
    made = patched(containers("a", "b", "c"), {"spec": {"containers": patch}}, "strategic", POD)
    assert named(made) == expected


def test_items_come_in_the_order_that_the_patch_says():
    order = [{"name": name} for name in ("c", "x", "a")]
    patch = {"spec": {"$setElementOrder/containers": order, "containers": [{"name": "x"}]}}
    made = patched(containers("a", "b", "c"), patch, "strategic", POD)
    assert [name for name, _ in named(made)] == ["b", "c", "x", "a"]  # b was before c


def test_lists_of_plain_values():
    before = {"metadata": {"finalizers": ["a", "b"]}, "spec": {"externalIPs": ["192.0.2.1"]}}
    more = patched(before, {"metadata": {"finalizers": ["c", "a"]}}, "strategic", SERVICE)
    assert sorted(more["metadata"]["finalizers"]) == ["a", "b", "c"]
    fewer = patched(
        before, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, "strategic", SERVICE
    )
    assert fewer["metadata"]["finalizers"] == ["b"]
    other = patched(before, {"spec": {"externalIPs": ["192.0.2.9"]}}, "strategic", SERVICE)
    assert other["spec"]["externalIPs"] == ["192.0.2.9"]  # atomic: it has no merge strategy


def test_objects_are_merged_replaced_or_thinned_out():
    before = {
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "replicas": 1}
    }
    kept = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patched(before, kept, "strategic", DEPLOYMENT)["spec"] == {
        "strategy": {"type": "Recreate"},
        "replicas": 1,
    }
    replaced = {"spec": {"$patch": "replace", "replicas": 2}}
    assert patched(before, replaced, "strategic", DEPLOYMENT) == {"spec": {"replicas": 2}}
    assert patched(before, {"spec": {"strategy": None}}, "strategic", DEPLOYMENT) == {"spec": {"replicas": 1}}
    new = {"metadata": {"labels": {"a": "b", "c": None}}}
    assert patched(before, new, "strategic", DEPLOYMENT)["metadata"] == {"labels": {"a": "b"}}


def test_merge_and_json_patches_know_no_keys():
    before = containers("a", "b")
    merged = patched(before, {"spec": {"containers": [{"name": "x"}], "nodeName": None}}, "merge", POD)
    assert merged == {"spec": {"containers": [{"name": "x"}]}}
    operations = [
        {"op": "test", "path": "/spec/containers/0/name", "value": "a"},
        {"op": "remove", "path": "/spec/containers/0"},
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "z"}},
    ]
    assert named(patched(before, operations, "json", POD)) == [("b", "b"), ("z", "")]


@pytest.mark.parametrize(
    ("patch", "form", "code"),
    [
        ([], "strategic", 400),
        ("text", "merge", 400),
        ({"op": "add"}, "json", 400),
        ([{"op": "fly", "path": "/a"}], "json", 400),
        ([{"op": "remove", "path": "/nothing"}], "json", 422),
        ([{"op": "test", "path": "/spec/containers/0/name", "value": "z"}], "json", 422),
        ({"spec": {"containers": [{"image": "nameless"}]}}, "strategic", 400),
        ({"spec": {"$patch": "explode"}}, "strategic", 400),
    ],
)
def test_a_patch_that_is_none(patch, form, code):
    with pytest.raises(StatusError) as error:
        patched(containers("a"), patch, form, POD)
    assert error.value.code == code
