"""Maglev tables: known ones, and what holds of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kcompile.targets.xdp import maglev

SIZES = st.integers(2, 40)


def members(count: int, start: int = 0) -> list[bytes]:
    """`count` members, 18 bytes each, as kernel/bpf/entries.py makes them of 10.244.x.y:8080."""
    return [
        bytes([10, 244, n >> 8 & 255, n & 255]) + bytes(12) + (8080).to_bytes(2)
        for n in range(start, start + count)
    ]


def hashed(of: list[bytes]) -> list[int]:
    return [int(h) for h in maglev.hashes(of)]


def test_known_hashes_and_tables():
    """These must never change: another hash would send half of all new connections of a cluster elsewhere on
    an upgrade.
    """
    assert hashed(members(2)) == [0x5F785E8C84FE707E, 0x3FA0004E282FE42A]
    assert maglev.table(hashed(members(3)), 13) == [0, 2, 2, 2, 1, 0, 1, 0, 1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (0, 0),
        (1, 1),
        (2, 211),
        (10, 1009),
        (655, 65519),
        (656, 65537),
        (5000, 65537),
        (65536, 65537),
        (70000, 70001),
    ],
)
def test_sizes(count: int, size: int):
    assert maglev.size_for(count) == size
    assert maglev.size_for(count, random=True) == count


@given(SIZES, st.integers(1, 5), st.integers(0, 10_000))
@example(2, 3, 0)
@settings(max_examples=40, deadline=None)
def test_many_at_once_equal_one_by_one(count: int, pools: int, start: int):
    size = maglev.size_for(count)
    rows = [hashed(members(count, start + pool * count)) for pool in range(pools)]
    filled = maglev._Filling(np.array(rows, dtype=np.uint64), size).run()
    assert filled.tolist() == [maglev.table(row, size) for row in rows]
    assert maglev.tables(np.array(rows, dtype=np.uint64), size).tolist() == filled.tolist()


@given(SIZES, st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_everybody_has_an_equal_share(count: int, start: int):
    size = maglev.size_for(count)
    shares = np.bincount(maglev.table(hashed(members(count, start)), size), minlength=count)
    assert shares.min() >= maglev.PLACES_EACH
    assert shares.max() - shares.min() <= 1


@given(st.integers(3, 40), st.integers(0, 10_000), st.data())
@settings(max_examples=40, deadline=None)
def test_few_places_change_when_a_member_goes(count: int, start: int, data: st.DataObject):
    """The places of the one that went are shared out; of the others' at most a few move, as the paper's
    section 5.3 measures.
    """
    gone = data.draw(st.integers(0, count - 1))
    size = maglev.size_for(count)
    before = members(count, start)
    after = before[:gone] + before[gone + 1 :]
    then, now = maglev.table(hashed(before), size), maglev.table(hashed(after), size)
    kept = [(before[a], after[b]) for a, b in zip(then, now, strict=True) if a != gone]
    moved = sum(a != b for a, b in kept)
    assert moved / len(kept) < 0.2


@pytest.mark.parametrize("count", [1, 2, 7])
def test_by_chance_each_has_one_place(count: int):
    rows = np.array([hashed(members(count))], dtype=np.uint64)
    assert maglev.tables(rows, maglev.size_for(count, random=True)).tolist() == [list(range(count))]
