"""The types of fields: the quick look says yes only where the thorough one does."""

import pytest
from hypothesis import given, strategies

from kcompile.apiserver import schema
from kcompile.apiserver.schema import known, of_kind, wrong_type

VALUES = strategies.sampled_from(
    [None, "", "x", 0, 2.0, 2.5, True, [], [None], ["a"], {}, {"a": 1}, {"a": "b"}, [{}], [{"name": 1}]]
)
FIELDS = strategies.sampled_from(
    ["containers", "nodeName", "hostNetwork", "priority", "nodeSelector", "tolerations", "securityContext"]
)
TIMES = strategies.sampled_from(
    [
        "2026-02-30T00:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28T24:00:00Z", "2026-02-28", "noon", "",
        "2026-02-28T00:00:00", "2026-02-28T00:00:00.123456789+01:00",
    ]
)  # fmt: skip
POD = of_kind("v1", "Pod")


@given(strategies.dictionaries(FIELDS, VALUES, max_size=3), TIMES)
def test_both_looks_agree(spec, time):
    pod = {"metadata": {"creationTimestamp": time}, "spec": spec}
    if schema._types().converts(POD, pod):
        assert schema._wrong(POD, pod, "") is None


@pytest.mark.parametrize(
    ("obj", "wrong"),
    [
        ({"spec": {"priority": 2.0}}, None),
        ({"spec": {"priority": 2.5}}, ("spec.priority", "number", "int32")),
        ({"spec": {"containers": [{"name": 1}]}}, ("spec.containers[0].name", "number", "string")),
        ({"spec": {"containers": [None]}}, ("spec.containers[0]", "null", "object")),
        ({"spec": {"nodeSelector": {"a": True}}}, ("spec.nodeSelector.a", "bool", "string")),
        ({"metadata": {"creationTimestamp": "noon"}}, ("metadata.creationTimestamp", "string", "date-time")),
        ({"spec": {"unknown": 1}}, None),
    ],
)
def test_the_first_wrong_value_is_named(obj, wrong):
    assert wrong_type(POD, obj) == wrong


def test_unknown_fields_are_named_and_left_out():
    obj = {"spec": {"containers": [{"name": "a", "prot": 1}], "nodeSelector": {"any": "b"}}, "typo": {}}
    kept, unknown = known(POD, obj)
    assert kept == {"spec": {"containers": [{"name": "a"}], "nodeSelector": {"any": "b"}}}
    assert unknown == ["spec.containers[0].prot", "typo"]
