"""Label and field selectors."""

import pytest

from kcompile.apiserver import StatusError, Store
from kcompile.apiserver.resources import RESOURCES
from kcompile.apiserver.selectors import field_matcher, label_matcher

SETS = {
    "none": {},
    "web": {"app": "web", "tier": "1"},
    "db": {"app": "db", "tier": "2", "example.com/x": ""},
    "odd": {"tier": "three", "in": "a"},
}
MATCHES = {
    "": "none web db odd",
    "app": "web db",
    "!app": "none odd",
    "app=web": "web",
    "app==web": "web",
    "app!=web": "none db odd",
    "app in (web,db)": "web db",
    "app in ( web , other )": "web",
    "app notin (web)": "none db odd",
    "app notin (web,),!in": "none db",
    "example.com/x=": "db",
    "example.com/x": "db",
    "example.com/x in ()": "db",
    "tier>1": "db",
    "tier<2,app": "web",
    "app,tier!=1": "db",
    "!service.kubernetes.io/headless,!app": "none odd",
}


@pytest.mark.parametrize("text", MATCHES)
def test_labels(text):
    found = [name for name, labels in SETS.items() if label_matcher(text).matches(labels)]
    assert " ".join(found) == MATCHES[text]


@pytest.mark.parametrize(
    "text", ["a in (", "a in b", "a notin", "=b", "a=b=c", "!", "a,,b", "a>b", "a b", "a=(b)", "-a", "a=-"]
)
def test_what_is_no_label_selector(text):
    with pytest.raises(StatusError) as caught:
        label_matcher(text)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_fields_are_those_that_a_real_server_knows_for_the_kind():
    store = Store()
    for name, spec in {
        "plain": {},
        "headless": {"clusterIP": "None"},
        "node": {"type": "NodePort"},
    }.items():
        meta = {"name": name, "namespace": "default"}
        ports = {"ports": [{"port": 80}]}
        store.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports | spec})
    store.put(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"unschedulable": True}}
    )
    store.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2"}})

    def names(kind: str, fields: str) -> list[str]:
        return [each["metadata"]["name"] for each in store.list(kind, fields=fields)]

    assert names("Service", "spec.clusterIP!=None") == ["node", "plain"]
    assert names("Service", "spec.type==NodePort,metadata.namespace=default") == ["node"]
    assert names("Service", "metadata.name=plain") == ["plain"]
    assert names("Node", "spec.unschedulable=false") == ["n2"]
    assert names("Namespace", "name=default,status.phase=Active") == ["default"]


@pytest.mark.parametrize(("kind", "text"), [("Service", "spec.x=1"), ("EndpointSlice", "a=1"), ("Node", "a")])
def test_what_no_field_selector_may_say(kind, text):
    resource = next(each for each in RESOURCES if each.kind == kind)
    with pytest.raises(StatusError) as caught:
        field_matcher(text, resource)
    assert caught.value.code == 400
    assert field_matcher(r"metadata.name=a\,b", resource).matches({"metadata.name": "a,b"})
