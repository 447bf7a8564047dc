"""What is read out of rules that kube-proxy 1.36.2 wrote, and what a script that removes them leaves."""

import json
from pathlib import Path

import pytest
import yaml

import kcompile
from kcompile.kernel.kubeproxy.chains import Chains
from kcompile.kernel.kubeproxy.frontends import Frontend, missing, of_ours
from kcompile.kernel.kubeproxy.tables import frontends_in

HERE = Path(__file__).parent
CASES = sorted(path.name.partition(".")[0] for path in HERE.glob("rules/*.json"))
API = Frontend(4, "tcp", "10.96.0.1", 443)
FORWARD_DROPS = (":FORWARD ACCEPT", ":FORWARD DROP")


def chains(case: str, family: int) -> Chains:
    return Chains("legacy", family, (HERE / f"rules/{case}.iptables-legacy.ipv{family}.txt").read_text())


def of_tables(case: str) -> set[Frontend]:
    listed = json.loads((HERE / f"rules/{case}.nftables.json").read_text())["nftables"]
    return frontends_in(one for item in listed for one in item.items())


@pytest.mark.parametrize("case", CASES)
def test_both_modes_answer_the_same_and_ours_all_of_it(case: str) -> None:
    theirs = chains(case, 4).frontends() | chains(case, 6).frontends()
    assert theirs == of_tables(case)
    flowcase = yaml.safe_load((HERE.parent / f"conformance/flowcases/{case}.yaml").read_text())
    cluster = kcompile.read_cluster(flowcase["manifests"])
    ours = of_ours(kcompile.compile(cluster, mode="nftables").frontends)
    assert missing(theirs, ours) == [API]
    assert str(API) == "10.96.0.1:443/TCP"


@pytest.mark.parametrize("family", [4, 6])
def test_all_but_kubelets_chains_go(family: int) -> None:
    found = chains("37-lb-ipmode-proxy", family)
    assert found.found
    script = found.removal()
    declared = {line.split()[0][1:] for line in script.splitlines() if line.startswith(":")}
    assert declared == found.names == {line[3:] for line in script.splitlines() if line.startswith("-X ")}
    assert "KUBE-FIREWALL" not in script
    assert not found.kept()
    jumps = [line for line in script.splitlines() if line.startswith("-D ")]
    assert len(jumps) == sum(
        line.startswith(("-A INPUT", "-A FORWARD", "-A OUTPUT", "-A PREROUTING", "-A POSTROUTING"))
        and "KUBE-FIREWALL" not in line
        for line in found.text.splitlines()
    )


def test_what_others_need_stays() -> None:
    text = chains("37-lb-ipmode-proxy", 4).text
    assert Chains("legacy", 4, text.replace(*FORWARD_DROPS)).kept() == {"KUBE-FORWARD"}
    accepted = text.replace(*FORWARD_DROPS).replace(
        "-A FORWARD ", "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT\n-A FORWARD ", 1
    )
    assert not Chains("legacy", 4, accepted).kept()
    used = text.replace(":KUBE-MARK-MASQ - [0:0]", ":CNI-MASQ - [0:0]\n:KUBE-MARK-MASQ - [0:0]").replace(
        "-A KUBE-MARK-MASQ", "-A CNI-MASQ -j KUBE-MARK-MASQ\n-A KUBE-MARK-MASQ", 1
    )
    found = Chains("legacy", 4, used)
    assert found.kept() == {"KUBE-MARK-MASQ"}
    assert "-X KUBE-MARK-MASQ" not in found.removal()
    assert "-X KUBE-SERVICES" in found.removal()


def test_kubelets_chains_are_no_sign_of_kube_proxy() -> None:
    text = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
    assert not Chains("nft", 4, text + "*filter\n:KUBE-FIREWALL - [0:0]\nCOMMIT\n").found
