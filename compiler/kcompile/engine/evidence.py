"""What the kernel holds of one mode's rules: read, or known where the kernel confirms that they are those of
the last apply (docs/adr/0014).

Two confirmations. nf_tables' generation id is the one of the last apply: nothing is read. Where there is no
such number the rules are read, and their digest is that of the rules that were written: nothing is lowered to
compare them with.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..kernel.confirmed import Confirmed, confirmed
from ..program import digest
from .basis import code_basis

if TYPE_CHECKING:
    from ..ir.model import Dataplane
    from ..kernel.drivers import Driver
    from ..kernel.remember import Applied
    from ..program import Program

__all__ = ["Evidence"]


class Evidence:
    """The rules of `driver` in the current namespace, under its lock, and what is known of them.

    `dataplane`: what the kernel confirms to run; None where that isn't known.
    """

    def __init__(
        self,
        driver: Driver,
        directory: Path,
        applied: Applied | None,
        versions: Collection[int],
        program: Program | None = None,
    ) -> None:
        """`applied`: the last apply, None where that isn't known. `versions`: the IP versions to program.

        :param program: the rules, where the caller knows them
        :raises KernelError: where the kernel can't be asked
        """
        self._driver = driver
        self._generation = driver.generation()  # before anything is read
        self._transactions = driver.transactions
        self._program = program
        self._confirmed: Confirmed | None = None
        self.dataplane: Dataplane | None = None
        found = _last_confirmed(driver, directory, applied)
        if applied is None or found is None:
            return
        untouched = found.generation is not None and found.generation == self._generation
        if untouched and set(found.families).issuperset(versions):
            self.families = found.families
        if found.families == self.families and (untouched or self._has(found.rules)):
            self._confirmed = found
            ports = tuple([p for p in applied.dataplane.ports if p.family.value in self.families])
            self.dataplane = msgspec.structs.replace(applied.dataplane, ports=ports, standing=found.standing)

    def _has(self, rules: bytes) -> bool:
        """Whether the kernel has the rules with the digest `rules`."""
        return bool(rules) and rules == digest(self.program)

    @cached_property
    def families(self) -> tuple[int, ...]:
        """The IP versions that the driver can program; asked of the kernel unless that has confirmed them."""
        return self._driver.families()

    @property
    def program(self) -> Program:
        """The rules; the first to ask has them read, or lowered from `dataplane`."""
        if self._program is None:
            known = self.dataplane
            self._program = self._driver.observe() if known is None else self._driver.target.lower(known)
        return self._program

    @property
    def standing(self) -> tuple[int, ...]:
        """The IP versions in which the rules translate connections (targets/base.py)."""
        if self._confirmed is not None:
            return self._confirmed.stands
        return self._driver.target.standing(self.program)

    def says(self, applied: bytes, dataplane: Dataplane | None) -> bool:
        """Whether it is written down already that the rules are those of `dataplane`, and that this is the
        remembered one with the digest `applied`.
        """
        known = self._confirmed
        return known is not None and known.applied == applied and self.dataplane == dataplane

    def renewed(self, applied: bytes, dataplane: Dataplane, program: Program | None) -> Confirmed:
        """To call under the lock after an apply of `dataplane`: the evidence for the next one.

        :param applied: the digest under which `dataplane` is remembered
        :param program: the rules that it came to; None: those that were there
        """
        alone, now = self.undisturbed(), self._driver.generation()
        stands = self.standing if program is None else self._driver.target.standing(program)
        return Confirmed(
            mode=self._driver.name,
            code=code_basis(),
            applied=applied,
            families=self.families,
            standing=dataplane.standing,
            stands=stands,
            generation=now if alone else None,
            rules=b"" if alone else self._rules(program),
        )

    def undisturbed(self) -> bool | None:
        """Whether nobody else has written since this was made; None where the kernel has no number for it."""
        before, now = self._generation, self._driver.generation()
        if before is None or now is None:
            return None
        return now == before + self._driver.transactions - self._transactions

    def _rules(self, program: Program | None) -> bytes:
        if program is None and self._confirmed is not None and self._confirmed.rules:
            return self._confirmed.rules
        return digest(self.program if program is None else program)


def _last_confirmed(driver: Driver, directory: Path, applied: Applied | None) -> Confirmed | None:
    """What was confirmed of the rules that this code made of `applied` with `driver`."""
    found = confirmed(directory, applied.digest) if applied is not None else None
    return found if found is not None and (found.mode, found.code) == (driver.name, code_basis()) else None
