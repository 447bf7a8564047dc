"""ipvs.tcpTimeout and its like, from the file to what is set on the node."""

import pytest
import yaml

from kcompile.errors import ConfigError
from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import NodeFacts
from kcompile.passes import resolve
from kcompile.spec.config import load_config
from kcompile.spec.settings import settings
from kcompile.targets.node import TimeoutKey, describe_node, lower_node


def config(tmp_path, **ipvs):
    path = tmp_path / "config.yaml"
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "ipvs",
        "ipvs": ipvs,
    }
    path.write_text(yaml.safe_dump(document))
    return load_config(str(path))


def dataplane(config, *, ports: bool = True) -> Dataplane:
    port = ServicePort(
        name="a/b:c",
        family=Family.IPV4,
        protocol=Protocol.TCP,
        cluster_ip="10.96.0.1",
        port=80,
        endpoints=(Endpoint("10.0.0.5", 80),),
    )
    return resolve([port] if ports else [], NodeFacts(name="n"), settings(config))


def timeouts(program):
    return {key.name: value for key, value in program.items() if key.kind == "ipvs timeout"}


def test_what_is_given_is_set_in_whole_seconds(tmp_path):
    made = config(tmp_path, tcpTimeout="15m30.9s", udpTimeout="250ms", tcpFinTimeout="0s")
    assert made.warnings == ()
    assert timeouts(lower_node(dataplane(made), "ipvs")) == {"tcp": "930"}
    made = config(tmp_path, tcpTimeout="1h", tcpFinTimeout="2m", udpTimeout="5m")
    program = lower_node(dataplane(made), "ipvs")
    assert timeouts(program) == {"tcp": "3600", "tcpfin": "120", "udp": "300"}
    assert describe_node(TimeoutKey("udp"), "300") == "ipvs timeout udp = 300"


def test_other_modes_and_a_node_without_services_leave_them(tmp_path):
    made = config(tmp_path, tcpTimeout="1h")
    assert timeouts(lower_node(dataplane(made), "nftables")) == {}
    assert timeouts(lower_node(dataplane(made, ports=False), "ipvs")) == {}


@pytest.mark.parametrize("field", ["tcpTimeout", "tcpFinTimeout", "udpTimeout"])
def test_what_no_kernel_can_count_is_refused(field, tmp_path):
    assert config(tmp_path, **{field: "2147483s"})
    with pytest.raises(
        ConfigError, match=rf"config\.yaml: document 1: ipvs\.{field}: more than 2147483 seconds"
    ):
        config(tmp_path, **{field: "2147484s"})
