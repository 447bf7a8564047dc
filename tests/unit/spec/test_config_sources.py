"""Where a configuration comes from: a ConfigMap, kubeadm's file, several documents, the command line."""

from __future__ import annotations

import pytest
import yaml

from kcompile.ir.node import DetectMode
from kcompile.spec.config import load_config

from .config_files import FILES, PROXY, SHORT, loaded

KUBEADM_CLUSTER = {"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration"}


def test_the_configmap_of_kube_proxy():
    config = load_config(str(FILES / "cm-current.yaml"))
    assert (config.detect_mode, config.detect_cidrs) == (DetectMode.CLUSTER_CIDR, ("172.17.0.0/16",))
    assert (config.kubeconfig, config.warnings) == ("/var/lib/kube-proxy/kubeconfig.conf", ())


def configmap(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize("kind", ["List", "ConfigMapList"])
def test_a_list_of_configmaps(kind, tmp_path):
    maps = [
        configmap("kube-root-ca.crt", **{"ca.crt": "-----BEGIN CERTIFICATE-----"}),
        configmap("coredns", Corefile=".:53 {}"),
        configmap(
            "kube-proxy",
            **{
                "config.conf": yaml.safe_dump({**PROXY, "mode": "nftables"}),
                "kubeconfig.conf": "kind: Config",
            },
        ),
        configmap(
            "kubeadm-config",
            ClusterConfiguration=yaml.safe_dump({**KUBEADM_CLUSTER, "networking": {"dnsDomain": "lan"}}),
        ),
    ]
    if kind == "ConfigMapList":
        for each in maps:
            del each["kind"], each["apiVersion"]
    config = loaded(tmp_path, {"apiVersion": "v1", "kind": kind, "items": maps})
    assert (config.mode, config.cluster_domain, config.warnings) == ("nftables", "lan", ())


@pytest.mark.parametrize("inside", [False, True], ids=["file", "ConfigMap"])
def test_of_a_key_that_occurs_twice_the_last_one_counts_as_in_kube_proxy(inside, tmp_path):
    text = f"{yaml.safe_dump(PROXY)}mode: ipvs\nmode: iptables\n"
    if inside:
        text = yaml.safe_dump(configmap("kube-proxy", **{"config.conf": text}))
    (tmp_path / "config.yaml").write_text(text)
    config = load_config(str(tmp_path / "config.yaml"))
    assert config.mode == "iptables"
    duplicates = [warning for warning in config.warnings if "mode: duplicate key" in warning]
    assert any("the last one counts" in warning for warning in duplicates)


def test_a_file_of_kubeadm():
    config = load_config(str(FILES / "kubeadm-init.yaml"))
    assert (config.mode, config.service_cidrs, config.cluster_domain) == (
        "ipvs",
        ("10.96.0.0/12",),
        "cluster.local",
    )
    assert (config.detect_mode, config.detect_cidrs) == (DetectMode.CLUSTER_CIDR, ("10.244.0.0/16",))
    assert config.warnings == ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"service-node-port-range": "80-32767"},
        [{"name": "v", "value": "2"}, {"name": "service-node-port-range", "value": "80-32767"}],
    ],
)
def test_all_that_kubeadm_says_of_the_cluster(arguments, tmp_path):
    networking = {
        "serviceSubnet": "10.1.0.0/16,fd00:1::/112",
        "podSubnet": "10.2.0.0/16,fd00:2::/48",
        "dnsDomain": "corp.example",
    }
    document = {
        **KUBEADM_CLUSTER,
        "networking": networking,
        "apiServer": {"extraArgs": arguments},
        "etcd": {},
    }
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "anything": 1}
    config = loaded(tmp_path, document, kubelet)
    assert config.service_cidrs == ("10.1.0.0/16", "fd00:1::/112")
    assert config.detect_cidrs == ("10.2.0.0/16", "fd00:2::/48")
    assert (config.cluster_domain, config.node_port_range) == ("corp.example", (80, 32767))


def test_the_more_particular_document_wins(tmp_path):
    networking = {"serviceSubnet": "10.1.0.0/16", "podSubnet": "10.2.0.0/16", "dnsDomain": "a"}
    documents = [
        {**KUBEADM_CLUSTER, "networking": networking},
        {**PROXY, "clusterCIDR": "10.3.0.0/16"},
        {**SHORT, "serviceCIDRs": ["10.4.0.0/16"], "clusterDomain": "b"},
    ]
    config = loaded(tmp_path, *documents)
    assert (config.service_cidrs, config.detect_cidrs, config.cluster_domain) == (
        ("10.4.0.0/16",),
        ("10.3.0.0/16",),
        "b",
    )


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, "ClusterCIDR"),
        ({"clusterCIDR": "10.3.0.0/16"}, "ClusterCIDR"),
        ({"detectLocalMode": "ClusterCIDR"}, "ClusterCIDR"),
        ({"detectLocalMode": "NodeCIDR", "clusterCIDR": "10.3.0.0/16"}, "NodeCIDR"),
        ({"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "cbr0"}}, "ClusterCIDR"),
    ],
)
def test_pod_cidrs_of_the_command_line_win(fields, mode, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**PROXY, **fields}))
    config = load_config(str(path), ("10.9.0.0/16",))
    assert (config.detect_mode.value, config.detect_cidrs, config.warnings) == (mode, ("10.9.0.0/16",), ())
