"""From kube-proxy to the agent: its rules go once ours answer for everything that they do.

Ours come first, beside them: what both translate, the first of them to see a packet translates, and conntrack
keeps to that. Then kube-proxy's go, in one step a table; open connections live on in conntrack, and those
through IPVS keep what they need until they end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..kernel.kubeproxy import KubeProxy, running
from ..kernel.kubeproxy.frontends import of_ours
from ..targets.base import FrontendView

__all__ = ["TakeOver"]


class TakeOver:
    """Removes what kube-proxy has left in the current network namespace; where that isn't `wanted`, names it.

    `done`: there is nothing left to do. Use it in the kernel thread.
    """

    def __init__(self, log: logging.Logger, *, wanted: bool) -> None:
        self._log, self._wanted = log, wanted
        self._said: set[str] = set()
        self._drains = False
        self.done = False

    def begin(self) -> None:
        """Call it before our rules go in. Raises KernelError."""
        if self._wanted:
            KubeProxy.found().reroute_new_connections()

    def go_on(self, ours: Callable[[], Iterable[FrontendView]]) -> None:
        """Call it while our rules are in force, now and then until `done`. Raises KernelError.

        :param ours: gives what they answer, which takes time: called only where kube-proxy left something
        """
        proxy = KubeProxy.found()
        if not proxy:
            self.done = True
        elif not self._wanted:
            there = ", ".join(proxy.lines())
            self._say(f"kube-proxy's rules are here too ({there}); --take-over removes them")
            self.done = True
        elif alive := running():
            self._say(f"{alive[0]} is running: its rules go when it has ended")
        elif lacking := proxy.unanswered(of_ours(ours())):
            self._say(f"kube-proxy's rules stay: they answer {lacking}, and ours don't")
        else:
            self._remove(proxy)

    def _remove(self, proxy: KubeProxy) -> None:
        removed = proxy.remove()
        if removed.gone:
            self._log.info("taken over from kube-proxy; removed %s", ", ".join(removed.gone))
        for line in removed.left:
            self._say(line)
        if removed.connections and not self._drains:
            self._drains = True
            text = "%d connections are open through kube-proxy's IPVS; its rest goes when they have ended"
            self._log.warning(text, removed.connections)
        self.done = removed.finished

    def _say(self, line: str) -> None:
        """Warn, but only once in the same words."""
        if line not in self._said:
            self._said.add(line)
            self._log.warning("%s", line)
