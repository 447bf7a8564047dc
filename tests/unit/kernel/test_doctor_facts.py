"""What doctor gathers: modules of a kernel, and whose the rules in a saved table are."""

import msgspec

from kcompile.kernel.doctor.gather import summary
from kcompile.kernel.doctor.node import kernel_modules
from kcompile.kernel.doctor.records import (
    KernelModules,
    Variant,
)


def test_modules_of_a_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr("os.uname", lambda: type("Name", (), {"release": "6.1.0-x"}))
    assert kernel_modules(tmp_path) == KernelModules("6.1.0-x", loadable=False, folder=False)
    folder = tmp_path / "lib/modules/6.1.0-x"
    folder.mkdir(parents=True)
    (tmp_path / "lib/modules/6.1.0-y").mkdir()
    (folder / "modules.dep").write_text("kernel/net/ip-vs.ko.xz: kernel/a.ko\nkernel/net/dummy.ko:\n")
    (folder / "modules.builtin").write_text("kernel/net/nf_nat.ko\n")
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/modules").write_text("overlay 108400 1 - Live 0x0\n")
    (tmp_path / "proc/sys/kernel/modules_disabled").write_text("1\n")
    available, present = frozenset({"ip_vs", "dummy"}), frozenset({"nf_nat", "overlay"})
    assert kernel_modules(tmp_path) == KernelModules(
        "6.1.0-x", locked=True, others=True, available=available, present=present
    )


SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-AAAA - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A PREROUTING -m comment --comment "kcompile" -j KCOMPILE-SERVICES
-A PREROUTING -j DOCKER
COMMIT
*filter
:FORWARD DROP [0:0]
{rule}
COMMIT
"""


def test_whose_the_rules_are():
    wanted = Variant("nft", 4, kube_proxy=3, own=1, foreign=2, forward="DROP")
    assert summary("nft", 4, SAVED.format(rule="-A FORWARD -j ACCEPT")) == wanted
    accepts = "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    assert summary("nft", 4, SAVED.format(rule=accepts)) == msgspec.structs.replace(
        wanted, forwards_services=True
    )
    mine = (
        "*nat\n:MINE - [0:0]\n:KCOMPILE-SERVICES - [0:0]\nCOMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\nCOMMIT\n"
    )
    assert summary("nft", 4, mine).chains == {"nat/MINE", "filter/MINE"}
    kubelet = "".join(
        f":KUBE-{chain} - [0:0]\n" for chain in ("FIREWALL", "KUBELET-CANARY", "POSTROUTING", "MARK-MASQ")
    )
    assert summary("nft", 4, kubelet) == Variant("nft", 4)


def test_the_policy_of_forward_is_that_of_table_filter():
    mangle = "*mangle\n:FORWARD ACCEPT [0:0]\n-A PREROUTING -j MARK --set-mark 7\nCOMMIT\n"
    security = "*security\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    text = mangle + SAVED.format(rule="-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT") + security
    assert summary("nft", 4, text).forward == "DROP"
    assert summary("legacy", 4, mangle + security).forward == ""
