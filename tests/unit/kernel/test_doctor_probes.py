"""Doctor's probes: what is refused is named, and they ask for all that the targets use."""

import random
import re

import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.kernel.doctor.features import NFTABLES, Feature, iptables_features, iptables_script, nft_script
from kcompile.kernel.doctor.probes import refused
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.nftables import NftablesTarget
from kcompile.targets.nftables.resources import Chain, Map
from kcompile.targets.xtables.keys import ChainKey

FEATURES = (
    Feature("base", rules={"": "base"}),
    Feature("one", rules={"": "one"}),
    Feature("two", ("m<v>",), {"": "two"}, "affinity"),
)


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        ((), []),
        (("two",), ["two"]),
        (("one", "two"), ["one", "two"]),
        (("base", "one"), ["base"]),
        (("together",), ["all features together"]),
    ],
)
def test_what_is_refused_is_named(bad, names):
    def load(features):
        if any(f.name in bad for f in features) or ("together" in bad and len(features) > 1):
            raise KernelError(
                "tool-restore: tool v1.8.9 (nf_tables): line 2: NOT SO: table nat line 3: NO: -A x"
            )

    lacks = refused(FEATURES, 6, load)
    assert [lack.feature for lack in lacks] == names
    assert all(lack.message == "NOT SO: table nat" for lack in lacks)
    assert all(lack.modules == ("m6",) for lack in lacks if lack.feature == "two")


def test_a_feature_may_be_a_sysctl():
    assert [
        lack.costs
        for lack in refused((Feature("x", costs="SCTP", sysctl="kernel.no_such_thing"),), 4, lambda _: None)
    ] == ["SCTP"]


OPTION = re.compile(r"(?:-m|-j|-p) \S+|--[a-z-]+")
WORD = re.compile(r"(?<![\w.:])[a-z][a-z0-9_-]*(?![\w:.])")


def test_the_probes_use_all_that_the_targets_use():
    options, words = set(), set()
    for seed in range(20):
        dataplane = random_dataplane(random.Random(seed))
        for key, value in IptablesTarget().lower(dataplane).items():
            for rule in value if isinstance(key, ChainKey) else [key.rule]:
                options |= {
                    o for o in OPTION.findall(re.sub(r'"[^"]*"', "text", rule)) if "KCOMPILE" not in o
                }
        for key, value in NftablesTarget().lower(dataplane).items():
            texts = [value.hook, *(r.text for r in value.rules)] if isinstance(value, Chain) else []
            texts += [value.write(key.family, key.name).partition("{")[2]] if isinstance(value, Map) else []
            for text in texts:
                words |= set(WORD.findall(re.sub(r'"[^"]*"|@\S+|goto \S+', " ", text)))
    assert {"-m recent", "-j MASQUERADE", "--reject-with"} <= options
    assert options <= set(
        OPTION.findall("".join(iptables_script(iptables_features("nft"), f) for f in (4, 6)))
    )
    assert {"fib", "numgen", "typeof", "update"} <= words
    # another protocol's port, another hook: nothing that a kernel could lack alone
    same = {"udp", "sctp", "input"}
    assert words - same <= set(WORD.findall("".join(nft_script(NFTABLES, f) for f in (4, 6))))
