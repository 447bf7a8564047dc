"""Configuration files: the fields of kube-proxy's kind, of kcompile's short form, and of both together."""

from __future__ import annotations

import json

import pytest
import yaml

from kcompile.errors import ConfigError
from kcompile.ir.node import DetectMode
from kcompile.spec.config import Config, load_config

from .config_files import FILES, PROXY, SHORT, configmap, loaded

# What kubeadm puts into the ConfigMap kube-proxy: every field, mostly unset.
KUBEADM = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  {acceptContentTypes: "", burst: 0, contentType: "", kubeconfig: /var/lib/kube-proxy/kubeconfig.conf, qps: 0}
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  {maxPerCore: null, min: null, tcpBeLiberal: false,
   tcpCloseWaitTimeout: null, tcpEstablishedTimeout: null, udpStreamTimeout: 0s}
detectLocal: {bridgeInterface: "", interfaceNamePrefix: ""}
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  {localhostNodePorts: null, masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
ipvs:
  {excludeCIDRs: null, minSyncPeriod: 0s, scheduler: "", strictARP: false,
   syncPeriod: 0s, tcpFinTimeout: 0s, tcpTimeout: 0s}
kind: KubeProxyConfiguration
logging:
  {flushFrequency: 0, options: {json: {infoBufferSize: "0"}, text: {infoBufferSize: "0"}}, verbosity: 0}
metricsBindAddress: ""
mode: ""
nftables: {masqueradeAll: false, masqueradeBit: null, minSyncPeriod: 0s, syncPeriod: 0s}
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  {enableDSR: false, forwardHealthCheckVIP: false, networkName: "", rootHnsEndpointName: "", sourceVip: ""}
"""


@pytest.mark.parametrize("text", ["", "---\n", "{}", "# all defaults\n"])
def test_nothing_is_the_default(text, tmp_path):
    assert loaded(tmp_path, text) == Config(source=str(tmp_path / "config.yaml"))


def test_what_kubeadm_writes_is_read_without_a_warning(tmp_path):
    config = loaded(tmp_path, KUBEADM)
    assert config.warnings == ()
    assert (config.detect_mode, config.detect_cidrs) == (DetectMode.CLUSTER_CIDR, ("10.244.0.0/16",))
    assert config.kubeconfig == "/var/lib/kube-proxy/kubeconfig.conf"
    assert (config.masquerade_all, config.masquerade_bit, config.localhost_node_ports) == (None, None, True)


def test_json_is_yaml_too(tmp_path):
    assert loaded(tmp_path, json.dumps({**PROXY, "mode": "iptables"})).mode == "iptables"


def test_fields_of_kube_proxy(tmp_path):
    config = loaded(
        tmp_path,
        {
            **PROXY,
            "mode": "nftables",
            "hostnameOverride": " Node-A ",
            "clusterCIDR": "10.244.0.1/16, FD00::/48",
            "nodePortAddresses": ["192.0.2.1/24", "2001:DB8::/32"],
            "iptables": {
                "masqueradeBit": 3,
                "masqueradeAll": True,
                "localhostNodePorts": False,
                "syncPeriod": "1m30s",
            },
            "nftables": {"masqueradeBit": 5, "minSyncPeriod": "100ms"},
            "conntrack": {
                "maxPerCore": 10,
                "min": 5,
                "tcpEstablishedTimeout": "24h0m0s",
                "tcpBeLiberal": True,
            },
            "healthzBindAddress": "0.0.0.0:10256",
            "metricsBindAddress": "[::1]:10249",
        },
    )
    assert (config.mode, config.hostname) == ("nftables", "node-a")
    assert config.detect_cidrs == ("10.244.0.0/16", "fd00::/48")
    assert config.node_port_addresses == ("192.0.2.0/24", "2001:db8::/32")
    assert (
        config.section("iptables").masquerade_bit,
        config.section("nftables").masquerade_bit,
        config.section("ipvs").masquerade_bit,
    ) == (3, 5, 3)
    assert (config.iptables.sync_period, config.nftables.min_sync_period) == (90, 0.1)
    assert (config.conntrack.tcp_established_timeout, config.conntrack.max_per_core) == (86400, 10)
    assert (config.healthz_bind_address, config.metrics_bind_address) == ("0.0.0.0:10256", "[::1]:10249")
    assert config.localhost_node_ports is False
    assert config.warnings == ()


def test_the_short_form(tmp_path):
    config = loaded(
        tmp_path,
        {
            "mode": "xdp",
            "compat": "iptables",
            "detectLocal": {"mode": "InterfaceNamePrefix", "cidrs": [], "interfaceNamePrefix": "veth"},
            "nodePortRange": "20000-20100",
            "nodePortAddresses": ["primary"],
            "masqueradeAll": True,
            "masqueradeBit": 0,
            "serviceCIDRs": ["10.96.0.1/12"],
            "localhostNodePorts": False,
            "hostnameOverride": "node-b",
        },
    )
    assert (config.mode, config.compat, config.hostname) == ("xdp", "iptables", "node-b")
    assert (config.detect_mode, config.detect_interface) == (DetectMode.INTERFACE_NAME_PREFIX, "veth")
    assert (config.node_port_range, config.node_port_addresses) == ((20000, 20100), ("primary",))
    assert (config.masquerade_all, config.masquerade_bit, config.localhost_node_ports) == (True, 0, False)
    assert config.service_cidrs == ("10.96.0.0/12",)


@pytest.mark.parametrize("swap", [False, True])
def test_both_forms_merge_and_the_short_one_wins(swap, tmp_path):
    documents = [
        {
            **PROXY,
            "mode": "iptables",
            "clusterCIDR": "10.0.0.0/8",
            "iptables": {"masqueradeBit": 3},
            "hostnameOverride": "a",
        },
        {**SHORT, "mode": "nftables", "detectLocal": {"mode": "None"}, "masqueradeBit": 7},
    ]
    config = loaded(tmp_path, *(documents[::-1] if swap else documents))
    assert (config.mode, config.detect_mode, config.hostname) == ("nftables", DetectMode.NONE, "a")
    assert (config.masquerade_bit, config.iptables.masquerade_bit) == (7, 3)


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"featureGates": {"A": True}}, "featureGates"),
        ({"logging": {"verbosity": 4}}, "logging"),
        ({"bindAddress": "10.0.0.1"}, "bindAddress"),
        ({"clientConnection": {"qps": 50}}, "clientConnection.qps"),
        ({"winkernel": {"enableDSR": True}}, "winkernel"),
        ({"oomScoreAdj": -500}, "oomScoreAdj"),
        ({"detectLocalMode": "ClusterCIDR"}, "detectLocalMode"),
    ],
)
def test_fields_without_effect_are_named(fields, warned, tmp_path):
    (warning,) = loaded(tmp_path, {**PROXY, **fields}).warnings
    assert f"config.yaml: {warned}: " in warning


@pytest.mark.parametrize(
    ("mode", "field"),
    [("BridgeInterface", "bridgeInterface"), ("InterfaceNamePrefix", "interfaceNamePrefix")],
)
def test_interfaces(mode, field, tmp_path):
    config = loaded(
        tmp_path,
        {**PROXY, "detectLocalMode": mode, "detectLocal": {field: "cbr0"}, "clusterCIDR": "10.0.0.0/8"},
    )
    assert (config.detect_mode.value, config.detect_interface) == (mode, "cbr0")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30),
        ("1m30s", 90),
        ("24h0m0s", 86400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("+1s", 1),
        ("10us", 1e-5),
    ],
)
def test_durations(text, seconds, tmp_path):
    assert loaded(
        tmp_path, {**PROXY, "configSyncPeriod": text, "iptables": {"syncPeriod": text}}
    ).iptables.sync_period == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1", "1d", "1 s", "-1s", "1s1", "1h-1m", "1" * 400 + "h", "1s\n"])
def test_bad_durations(text, tmp_path):
    with pytest.raises(ConfigError, match=r"iptables\.syncPeriod"):
        loaded(tmp_path, {**PROXY, "iptables": {"syncPeriod": text}})


def test_a_missing_file():
    with pytest.raises(ConfigError, match="nowhere: No such file"):
        load_config("nowhere")


# --- as lenient as kube-proxy ---


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"udpIdleTimeout": "250ms"}, ("udpIdleTimeout", "a field of older versions")),
        ({"resourceContainer": "/kube-proxy"}, ("resourceContainer", "a field of older versions")),
        ({"conntrack": {"max": None}}, ("conntrack.max", "a field of older versions")),
        ({"ipvs": {"masqueradeAll": True}}, ("ipvs.masqueradeAll", "it belongs to iptables or nftables")),
        ({"iptables": None, "localhostNodePorts": False}, ("localhostNodePorts", "it belongs to iptables")),
        ({"ipvs": {"mode": "ipvs"}}, ("ipvs.mode", "it belongs to the top level")),
        ({"iptabels": {}}, ("iptabels", "did you mean iptables?")),
        ({"iptables": {"masqueradeAlll": True}}, ("iptables.masqueradeAlll", "did you mean masqueradeAll?")),
        ({"clusterCidr": "10.0.0.0/8"}, ("clusterCidr", "did you mean clusterCIDR?")),
        ({"x\ny": 1}, ('config.yaml: ["x\\ny"]', "")),
    ],
)  # fmt: skip
def test_unknown_and_misplaced_fields_warn(fields, warned, tmp_path):
    config = loaded(tmp_path, {**PROXY, "mode": "iptables", **fields})
    (warning,) = config.warnings
    field, hint = warned
    assert warning.endswith(
        f"{field}: unknown field, ignored as by kube-proxy" + (f": {hint}" if hint else "")
    )
    assert (config.mode, config.iptables.masquerade_all, config.localhost_node_ports) == (
        "iptables",
        False,
        True,
    )
    assert config.detect_mode is DetectMode.NONE


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


def test_many_unknown_fields_are_counted(tmp_path):
    warnings = loaded(tmp_path, {**PROXY, **{f"x{number}": 1 for number in range(50)}}).warnings
    assert len(warnings) == 21
    assert warnings[-1].endswith("30 more unknown fields, ignored as by kube-proxy")


def test_a_file_of_a_public_installer():
    config = load_config(str(FILES / "easz-123.yaml"))
    assert {warning.split(": ")[1] for warning in config.warnings} == {
        "udpIdleTimeout",
        "conntrack.max",
        "ipvs.masqueradeAll",
    }
    assert (config.mode, config.detect_cidrs, config.iptables.masquerade_bit) == (
        "ipvs",
        ("10.244.0.0/16",),
        14,
    )
    assert (
        config.ipvs.scheduler,
        config.conntrack.max_per_core,
        config.conntrack.tcp_close_wait_timeout,
    ) == ("rr", 32768, 3600)


def test_unused_fields_share_a_line(tmp_path):
    (warning,) = loaded(
        tmp_path, {**PROXY, "featureGates": {"A": True}, "enableProfiling": True, "oomScoreAdj": -999}
    ).warnings
    assert warning.endswith("config.yaml: enableProfiling, featureGates: not used by kcompile")


@pytest.mark.parametrize(
    ("text", "healthz", "metrics"),
    [
        ("0.0.0.0", "0.0.0.0:10256", "0.0.0.0:10249"),
        ("::", "[::]:10256", "[::]:10249"),
        ("::1", "[::1]:10256", "[::1]:10249"),
        ("10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:1"),
        ("010.000.0.08", "10.0.0.8:10256", "10.0.0.8:10249"),
        ("[FD00::1]:65535", "[fd00::1]:65535", "[fd00::1]:65535"),
        ("", "", ""),
    ],
)
def test_addresses_without_a_port_get_kube_proxys(text, healthz, metrics, tmp_path):
    config = loaded(tmp_path, {**PROXY, "healthzBindAddress": text, "metricsBindAddress": text})
    assert (config.healthz_bind_address, config.metrics_bind_address) == (healthz, metrics)


def test_leading_zeros_are_decimal(tmp_path):
    config = loaded(
        tmp_path, {**PROXY, "clusterCIDR": "010.020.0.0/016", "nodePortAddresses": ["0192.0.2.0/24"]}
    )
    assert (config.detect_cidrs, config.node_port_addresses) == (("10.20.0.0/16",), ("192.0.2.0/24",))
