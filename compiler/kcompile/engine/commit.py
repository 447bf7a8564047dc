"""What a commit does, in its order: the new mode's rules first, then those of the modes that it replaces,
then conntrack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..ir.model import Dataplane
from ..kernel import departure
from ..kernel.commit import detached
from ..kernel.conntrack import Target, live_targets, past_targets, purge, renew
from ..kernel.drivers import Installed, tidy
from ..kernel.facts import interface_addresses
from ..kernel.ipvs.drain import LIMIT
from ..kernel.takeover import TakeOver
from ..notices import Notice
from ..plans import Plan
from ..targets.node import SysctlKey
from .progress import Progress

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Commit"]

_LINGERS = (
    "{} connections are still open through ipvs. "
    "Its remaining rules go at the next apply after they end, or in {:.0f} minutes."
)

_Targets = dict[Target, frozenset[tuple[str, int]]]


class Commit:
    """The writes of one plan. `run` carries them out in a process that a kill of this one doesn't end."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        dataplane: Dataplane,
        *,
        keep_connections: bool,
        then: Callable[[], None] | None,
    ) -> None:
        self._session, self._plan, self._dataplane = session, plan, dataplane
        self._keep, self._then = keep_connections, then

    def run(self, progress: Progress) -> list[Notice]:
        """Returns warnings. Raises KernelError."""
        step = "programming the kernel"
        progress(step)
        return detached(self.work, partial(progress, step))

    def work(self) -> list[Notice]:
        """The same in this process."""
        session, plan = self._session, self._plan
        # a sysctl that the old mode needs is put back when that has gone
        after = [c for c in plan.node if isinstance(c.key, SysctlKey) and c.key not in session.node_desired]
        session.driver.keep(plan.rules)
        warnings = session.resources.apply([c for c in plan.node if c not in after], session.node_desired)
        replaced, past = self._replace()
        warnings += replaced
        if not self._keep:
            tidy(session.driver, session.observed)
        warnings += session.resources.apply(after, session.node_desired)
        session.driver.transactions += session.resources.transactions
        self._clean_conntrack(past)
        if self._then is not None:
            self._then()
        return warnings

    def _replace(self) -> tuple[list[Notice], _Targets]:
        """Write the rules, and take the other modes off; warnings, and the UDP frontends that were there
        before.
        """
        session, plan = self._session, self._plan
        if self._keep:
            for other in session.others:
                departure.reroute_new_connections(*other)
        others = [other.driver for other in session.others] if self._keep else []
        first = self._keep and not session.observed and not others
        takeover = TakeOver(session.driver, others, first=first)
        warnings = takeover.begin()
        warnings += session.driver.apply(plan.rules)
        past = past_targets(session.driver.target, session.observed) if plan.rules and session.had_udp else {}
        for other in session.others:
            flows = past_targets(other.driver.target, other.held)
            warnings += self._take_off(other, flows)
            past |= flows
        return warnings + takeover.finish(), past

    def _take_off(self, other: Installed, flows: _Targets) -> list[Notice]:
        """Remove what another mode has; returns warnings. `flows`: its UDP frontends."""
        driver, held = other
        warnings: list[Notice] = []
        if self._keep and departure.drains(driver):
            # the new rules see no packet of a flow that IPVS has begun, and its real servers go now
            purge({}, flows, interface_addresses())
            if connections := departure.remove(driver, held):
                warnings.append(Notice("ipvs-lingers", _LINGERS.format(connections, LIMIT / 60)))
        else:
            driver.apply(driver.target.diff(held, {}))
        tidy(driver, held)
        return warnings

    def _clean_conntrack(self, past: _Targets) -> None:
        """Drop entries that send packets where no rule would send them now."""
        if not self._plan.rules:
            return
        target = self._session.driver.target
        live = live_targets(self._dataplane)
        if live or past:
            purge(live, past, interface_addresses())
        if target.uses_conntrack:  # else a retry is looked up anew, whatever conntrack has of it
            renew(self._dataplane, interface_addresses(), untranslated=target.translates_in_nat)
