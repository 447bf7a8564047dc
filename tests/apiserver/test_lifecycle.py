"""How objects end: grace, finalizers, propagation, namespaces; and what is written beside an update."""

import pytest

from kcompile.apiserver import StatusError, Store
from kcompile.apiserver.records import Event


def refused(code: int):
    return pytest.RaisesExc(StatusError, check=lambda error: error.code == code)


def pod(name: str = "p", node: str = "n1", grace: int | None = None) -> dict:
    spec: dict = {"containers": [{"name": "c", "image": "i"}]}
    spec |= {"nodeName": node} if node else {}
    spec |= {} if grace is None else {"terminationGracePeriodSeconds": grace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def config(**meta) -> dict:
    meta = {"name": "c", "namespace": "default"} | meta
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def deployment(labels: dict | None = None, **spec) -> dict:
    container = {"name": "c", "image": "i"}
    template = {"metadata": {"labels": labels or {"app": "a"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template} | spec
    meta = {"name": "d", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


@pytest.fixture
def store() -> Store:
    return Store(controllers=True)


def test_a_pod_on_a_node_gets_its_grace_and_goes_with_the_kubelets_word(store):
    store.create(pod(grace=7))
    marked = store.delete("Pod", "default", "p")
    meta = marked["metadata"]
    assert (meta["deletionGracePeriodSeconds"], meta["generation"]) == (7, 2)
    assert store.delete("Pod", "default", "p") == marked  # again: it has its time
    shorter = store.delete("Pod", "default", "p", grace=3)["metadata"]
    assert (shorter["deletionGracePeriodSeconds"], shorter["generation"]) == (3, 2)
    assert shorter["deletionTimestamp"] <= meta["deletionTimestamp"]
    assert store.delete("Pod", "default", "p", grace=60)["metadata"]["deletionGracePeriodSeconds"] == 3
    kept = store.update(store.get("Pod", "default", "p") | {"spec": pod(grace=7)["spec"]})
    assert kept["metadata"]["deletionTimestamp"] == shorter["deletionTimestamp"]
    assert store.delete("Pod", "default", "p", grace=0)["metadata"]["deletionGracePeriodSeconds"] == 0
    assert store.list("Pod") == []


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", ""])
def test_a_pod_that_ended_or_has_no_node_goes_at_once(store, phase):
    store.create(pod(node="n1" if phase else ""))
    if phase:
        store.update_status(pod() | {"status": {"phase": phase}})
    store.delete("Pod", "default", "p")
    assert store.list("Pod") == []


def test_finalizers_hold_an_object_until_the_last_one_goes(store):
    store.create(config(finalizers=["example.com/a", "example.com/b"]))
    assert store.delete("ConfigMap", "default", "c")["metadata"]["deletionGracePeriodSeconds"] == 0
    store.update(config(finalizers=["example.com/b"]))
    assert len(store.list("ConfigMap")) == 1
    gone = store.update(config(finalizers=[]))
    assert store.list("ConfigMap") == []
    assert "deletionTimestamp" in gone["metadata"]


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None), (None, None)],
)
def test_propagation_is_left_to_the_collector(store, policy, finalizers):
    store.create(deployment())
    found = store.delete("Deployment", "default", "d", propagation=policy)
    assert found["metadata"].get("finalizers") == finalizers
    assert len(store.list("Deployment")) == bool(finalizers)


def test_without_a_collector_no_finalizer_holds_anything():
    store = Store()
    store.create(deployment())
    store.delete("Deployment", "default", "d", propagation="Foreground")
    assert store.list("Deployment") == []
    with refused(422):
        store.create(deployment())
        store.delete("Deployment", "default", "d", propagation="Sideways")


def test_a_namespace_ends_when_its_controller_has_emptied_it(store):
    store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    assert [each["metadata"]["name"] for each in store.list("ServiceAccount", "team")] == ["default"]
    with refused(409):
        store.finalize("team")
    assert store.delete("Namespace", "", "team")["status"]["phase"] == "Terminating"
    with refused(409):
        store.delete("Namespace", "", "team")
    with refused(403):
        store.create(config(namespace="team"))
    store.finalize("team")
    assert store.list("ServiceAccount", "team") == []
    with refused(404):
        store.get("Namespace", "", "team")


def test_a_pod_is_bound_once(store):
    store.create(pod(node=""))
    bound = store.bind("default", "p", "n1")
    assert bound["spec"]["nodeName"] == "n1"
    [condition] = bound["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    with refused(409):
        store.bind("default", "p", "n2")
    with refused(422):
        store.update(pod(node="n2"))


def test_status_is_written_by_itself(store):
    made = store.create(deployment(replicas=3) | {"status": {"replicas": 9}})
    assert made["status"] == {}
    found = store.update_status(deployment(replicas=7) | {"status": {"replicas": 3}})
    assert (found["spec"]["replicas"], found["status"]) == (3, {"replicas": 3})
    assert found["metadata"]["generation"] == 1
    assert store.update(deployment(replicas=4))["status"] == {"replicas": 3}
    with refused(409):
        store.update_status(made | {"status": {"replicas": 4}})
    with refused(400):
        store.update_status(deployment() | {"status": {"replicas": "three"}})
    with refused(404):
        store.update_status(config())


def test_a_dry_run_writes_nothing(store):
    store.create(deployment())
    before, events = store.version, []
    store.listen(events.append)
    assert "resourceVersion" not in store.create(config(), dry=True)["metadata"]
    assert store.update(deployment(replicas=5), dry=True)["spec"]["replicas"] == 5
    assert store.patch("Deployment", "default", "d", {"spec": {"paused": True}}, dry=True)["spec"]["paused"]
    store.delete("Deployment", "default", "d", dry=True)
    assert (store.version, events) == (before, [])


def test_a_patch_without_effect_is_no_write(store):
    store.create(deployment())
    before = store.version
    store.patch("Deployment", "default", "d", {"spec": {"replicas": 1}})
    assert store.version == before
    with refused(400):
        store.patch("Deployment", "default", "d", {"metadata": {"name": "other"}})
    with refused(409):
        stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}}
        store.patch("Deployment", "default", "d", stale)


WRONG = [
    (deployment(selector=None), "spec.selector", "Required value"),
    (
        deployment({"app": "b"}),
        "spec.template.metadata.labels",
        'Invalid value: {"app":"b"}: `selector` does not match template `labels`',
    ),
    (deployment(selector={}), "spec.selector", "Invalid value: {}: empty selector is invalid for deployment"),
    (deployment(replicas=-1), "spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
    (
        deployment(template={"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}),
        "spec.template.spec.containers",
        "Required value",
    ),
]


@pytest.mark.parametrize(("obj", "field", "message"), WRONG, ids=[row[1] for row in WRONG])
def test_a_wrong_workload_is_refused_in_the_real_servers_words(store, obj, field, message):
    with pytest.raises(StatusError) as error:
        store.create(obj)
    causes = error.value.details["causes"]
    assert (error.value.code, (causes[0]["field"], causes[0]["message"])) == (422, (field, message))


def test_what_cant_change_and_what_has_the_wrong_type(store):
    store.create(deployment())
    with refused(422):
        store.update(deployment({"app": "b"}, selector={"matchLabels": {"app": "b"}}))
    with pytest.raises(StatusError) as error:
        store.create(deployment(replicas="three") | {"metadata": {"name": "e"}})
    assert error.value.code == 400
    assert "cannot unmarshal string into field spec.replicas of type int32" in error.value.message


def test_a_secrets_plain_text_is_coded(store):
    meta = {"name": "s", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": "b"}}
    made = store.create(secret | {"data": {"c": "ZA=="}})
    assert (made["type"], made["data"], "stringData" in made) == ("Opaque", {"a": "Yg==", "c": "ZA=="}, False)


def test_an_object_that_was_put_as_being_deleted_stays_through_an_update(store):
    meta = {"name": "n1", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    store.put({"apiVersion": "v1", "kind": "Node", "metadata": meta})
    store.patch("Node", "", "n1", {"metadata": {"labels": {"a": "b"}}})
    assert store.get("Node", "", "n1")["metadata"]["labels"] == {"a": "b"}
    store.delete("Node", "", "n1")
    assert store.list("Node") == []


def test_the_marks_of_a_deletion_are_seen_by_a_watch(store):
    store.create(pod())
    collection = store.collection(next(each for each in store._collections if each.kind == "Pod"))
    store.delete("Pod", "default", "p")
    store.delete("Pod", "default", "p", grace=0)
    seen: list[Event] = collection.history[-2:]
    assert [(each.before is None, each.now is None) for each in seen] == [(False, False), (False, True)]
    assert seen[0].now is not None
    assert "deletionTimestamp" in seen[0].now.object()["metadata"]
