"""Which UDP flows are stale: the decision alone, no kernel."""

import pytest

from kcompile.kernel.conntrack import Flow, past_targets, stale
from kcompile.targets.base import FrontendView

LIVE = {
    (4, "10.96.0.1", 53): frozenset({("10.244.0.1", 5353)}),
    (4, "*", 30053): frozenset({("10.244.0.1", 5353)}),
}
PAST = {(4, "10.96.0.9", 53): frozenset({("10.244.0.9", 53)})}
LOCAL = frozenset({"192.0.2.10"})


@pytest.mark.parametrize(
    ("destination", "answers", "wanted"),
    [
        (("10.96.0.1", 53), ("10.244.0.1", 5353), False),
        (("10.96.0.1", 53), ("10.244.0.2", 5353), True),
        (("10.96.0.1", 53), ("10.96.0.1", 53), True),
        (("10.96.0.1", 54), ("10.96.0.1", 54), False),
        (("192.0.2.10", 30053), ("10.244.0.2", 5353), True),
        (("192.0.2.10", 30053), ("10.244.0.1", 5353), False),
        (("192.0.2.99", 30053), ("10.244.0.2", 5353), False),
        (("10.96.0.9", 53), ("10.244.0.9", 53), True),
        (("10.96.0.9", 53), ("10.99.0.9", 53), False),
    ],
    ids=[
        "to-a-serving-backend",
        "to-a-gone-backend",
        "never-dnated",
        "no-frontend",
        "node-port-gone-backend",
        "node-port-serving",
        "other-hosts-port",
        "deleted-service",
        "deleted-service-but-foreign-dnat",
    ],
)
def test_stale(destination, answers, wanted):
    assert stale(Flow(4, destination, answers), LIVE, PAST, LOCAL) is wanted


class Views:
    """A target whose programs hold their frontends as they are."""

    def frontends(self, program):
        return list(program.values())


def test_past_targets_read_udp_frontends_only():
    udp = FrontendView("ns/s:dns", "ClusterIP", 6, "UDP", "fd00::1", 53, "dnat", ("[fd00::2]:5353",))
    tcp = FrontendView("ns/s:http", "ClusterIP", 4, "TCP", "10.96.0.1", 80, "dnat", ("10.0.0.1:80",))
    assert past_targets(Views(), {("udp",): udp, ("tcp",): tcp}) == {
        (6, "fd00::1", 53): frozenset({("fd00::2", 5353)})
    }
    assert past_targets(Views(), {("tcp",): tcp}) == {}
