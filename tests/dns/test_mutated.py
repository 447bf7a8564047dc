"""What arrives may be anything: the server answers with messages, and good questions all the time."""

import pytest

from harness.mutated import trouble


@pytest.mark.parametrize("tcp", [False, True])
def test_mutated_questions(port: int, tcp: bool):
    """bench/trials/dns_packets.py sends more of them."""
    assert list(trouble(port, 1000, 18, tcp=tcp)) == []
