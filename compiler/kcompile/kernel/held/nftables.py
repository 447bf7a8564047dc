"""Mode nftables held open: one libnftables context, and one socket that asks for the generation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...notices import Notice
from ...program import Change, Program
from ..drivers import NftablesDriver
from ..generation import Transactions
from ..nftables import Nft

__all__ = ["HeldNftables"]


class HeldNftables:
    """Each apply is one transaction. The table is read only where others have written to nf_tables."""

    def __init__(self, driver: NftablesDriver) -> None:
        self._target = driver.target
        self._nft = Nft()
        self._transactions = Transactions()

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        text = "".join(self._target.scripts(changes).values())
        if text:
            with self._transactions.own(1):
                self._nft.apply(text)
        return []

    def touched(self) -> bool:
        return self._transactions.touched()

    def others(self, generations: Collection[int]) -> bool:
        return self._transactions.others(generations)

    def differs(self, expected: Program) -> bool:
        self._transactions.touched()
        if not self._transactions.suspect:
            return False
        differs = self._nft.observe() != expected
        self._transactions.suspect = differs
        return differs

    def close(self) -> None:
        self._nft.close()
        self._transactions.close()
