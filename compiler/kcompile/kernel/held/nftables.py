"""Mode nftables held open: one libnftables context, and one socket that asks for the generation."""

from __future__ import annotations

from collections.abc import Sequence

from ...notices import Notice
from ...program import Change, Program
from ..drivers import NftablesDriver
from ..generation import Transactions
from ..nftables import Nft
from .traced import Traced

__all__ = ["HeldNftables"]


class HeldNftables(Traced):
    """Each apply is one transaction."""

    def __init__(self, driver: NftablesDriver) -> None:
        self._target = driver.target
        self._nft = Nft()
        super().__init__(Transactions())

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        text = "".join(self._target.scripts(changes).values())
        if text:
            with self._trace.own(1):
                self._nft.apply(text)
        return []

    def close(self) -> None:
        self._nft.close()
        super().close()

    def _read(self) -> Program:
        return self._nft.observe()
