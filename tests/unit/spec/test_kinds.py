"""Which misspelt kinds are known for what they were meant to be. What is refused is in tests/badinput."""

import pytest

from kcompile.spec.kinds import meant_kind

BUILT_IN = {
    "v1": (
        "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume "
        "PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service "
        "ServiceAccount Status List"
    ),
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet Scale",
    "discovery.k8s.io/v1": "EndpointSlice",
    "networking.k8s.io/v1": "Ingress IngressClass IPAddress NetworkPolicy ServiceCIDR",
}


@pytest.mark.parametrize(
    ("kind", "version"), [(kind, version) for version, kinds in BUILT_IN.items() for kind in kinds.split()]
)
def test_a_kind_that_kubernetes_has_is_taken_for_no_other(kind, version):
    assert not meant_kind(kind, version)
    assert not meant_kind(f"{kind}List", version)


@pytest.mark.parametrize(
    "version", ["serving.knative.dev/v1", "example.org/v1", "v1.example.org/v1", "k8s.io/v1", "V1"]
)
def test_kinds_of_others_are_their_business(version):
    assert not meant_kind("service", version)
    assert not meant_kind("services", version)


def test_by_case_number_or_a_letter():
    assert {meant_kind(kind, "v1") for kind in ("service", "Services", "SERVICE", "Servcie", "Servic")} == {
        "Service"
    }
    assert meant_kind("endpointslices", "discovery.k8s.io/v1") == "EndpointSlice"
    assert meant_kind("pods", "apps/v1") == "Pod of v1"
    assert meant_kind("serviceList", "v1") == "ServiceList"


def test_what_is_like_nothing_stays_unknown():
    assert not meant_kind("Widget", "v1")
    assert not meant_kind("x" * 1_000_000, "v1")
