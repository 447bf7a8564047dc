"""When a removal is worth a question."""

import pytest

from kcompile.plans import Removal


@pytest.mark.parametrize(
    ("services", "held", "large"),
    [
        (0, 0, False),
        (9, 9, False),
        (5, 10, False),
        (6, 10, True),
        (10, 10, True),
        (0, 10_000, False),
        (5_001, 10_000, True),
    ],
)
def test_more_than_half_of_ten_or_more(services, held, large):
    assert Removal(services, held).is_large is large


def test_it_is_said_in_numbers():
    assert str(Removal(6_000, 10_000)) == "this removes 6,000 of the 10,000 Services on this node"
