"""Judges flows: enough connections for each expectation, and what was wrong with them."""

from __future__ import annotations

import http.client
import math
import socket
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import netns
from .flowcase import Expect, Flow, FlowCase, Verdict
from .lab import Lab
from .listeners import family
from .packets import join
from .probes import Fate, Outcome

__all__ = ["Judge", "check_flows", "tries"]

PATIENCE = 4.0
"""Seconds to wait for an answer that should come: a loaded machine must not fail a test, and TCP sends a lost
SYN again after one.
"""

SILENCE = 0.3
"""Seconds of silence that make a drop.

Whatever isn't dropped would arrive at a tap or be answered in under a millisecond.
"""

FALSE_ALARM = 1e-7


def tries(backends: int) -> int:
    """How many connections leave one of `backends` unseen with a chance under `FALSE_ALARM`: n with K (1 -
    1/K)^n below it.
    """
    if backends < 2:
        return 1
    return math.ceil(math.log(FALSE_ALARM / backends) / math.log1p(-1 / backends))


def check_flows(lab: Lab, case: FlowCase, mode: str, patience: float = PATIENCE) -> list[str]:
    """Run every flow of `case`; one message for each that fails.

    `patience`: seconds to wait for an answer that should come.
    """
    judge = Judge(lab, patience)
    failures = []
    for index, flow in enumerate(case.flows, 1):
        expect = flow.expect(mode)
        if problem := judge.check(flow, expect):
            reason = f" ({flow.why})" if flow.why else ""
            failures.append(f"flow {index}: {flow}: expected {_describe(flow, expect)}{reason}; {problem}")
    return failures


def _describe(flow: Flow, expect: Expect) -> str:
    if flow.status:
        return f"HTTP {flow.status} for {flow.path}"
    if expect.verdict is not Verdict.DNAT:
        return str(expect.verdict.value)
    extra = {None: "", True: ", masqueraded", False: ", source kept"}[expect.masq] + (
        ", sticky" if expect.sticky else ""
    )
    return f"dnat to {', '.join(sorted(expect.backends))}{extra}"


class Judge:
    """Checks one flow after the other; remembers where the sticky groups went."""

    def __init__(self, lab: Lab, patience: float = PATIENCE) -> None:
        self.lab = lab
        self.patience = patience
        self._groups: dict[str, str] = {}

    def check(self, flow: Flow, expect: Expect) -> str:
        """What is wrong, or nothing."""
        if flow.status:
            return self._http(flow)
        checks: Mapping[Verdict, Any] = {
            Verdict.DNAT: self._dnat,
            Verdict.ACCEPT: self._accept,
            Verdict.REJECT: self._reject,
            Verdict.DROP: self._drop,
        }
        return str(checks[expect.verdict](flow, expect))

    def _probe(self, flow: Flow, timeout: float, again: bool) -> Outcome:
        # the same ports again: forget the last connection, or it would be found established
        if again and flow.sport:
            netns.run(self.lab.topology.node, ["conntrack", "-F"])
        return self.lab.probe(flow, timeout)

    def _dnat(self, flow: Flow, expect: Expect) -> str:
        count = max(expect.repeat, tries(max(2, self.lab.backends, len(expect.backends))))
        seen: Counter[str] = Counter()
        for index in range(count):
            outcome = self._probe(flow, self.patience, index > 0)
            if outcome.fate is not Fate.ANSWERED or outcome.listener not in expect.backends:
                return f"connection {index + 1} was {outcome}"
            if problem := self._source(flow, expect, outcome):
                return f"connection {index + 1} to {outcome.listener}: {problem}"
            seen[outcome.listener] += 1
        if expect.sticky:
            if len(seen) > 1:
                return f"{count} connections went to {_counts(seen)}"
            first = self._groups.setdefault(expect.sticky, *seen) if isinstance(expect.sticky, str) else ""
            return (
                ""
                if first in ("", *seen)
                else f"went to {_counts(seen)}, but the group {expect.sticky} sticks to {first}"
            )
        if missing := expect.backends - set(seen):
            return f"none of {count} connections went to {', '.join(sorted(missing))}"
        return ""

    def _source(self, flow: Flow, expect: Expect, outcome: Outcome) -> str:
        """What is wrong with the peer that a backend saw.

        Masquerading takes the node's first address: a flow from there looks the same.
        """
        topology = self.lab.topology
        first = next((ip for ip in topology.node_ips if (":" in ip) == (":" in flow.src)), "")
        unchanged = outcome.peer == flow.src
        if expect.masq is True and (not topology.on_node(outcome.peer) or (unchanged and flow.src != first)):
            return f"saw the source {outcome.peer}, not one of the node's addresses" + (
                " that masquerading takes" if unchanged else ""
            )
        if expect.masq is False and not unchanged:
            return f"saw the source {outcome.peer} instead of {flow.src}"
        return ""

    def _accept(self, flow: Flow, expect: Expect) -> str:
        for index in range(expect.repeat or 2):
            outcome = self._probe(flow, self.patience, index > 0)
            if outcome.fate is not Fate.ANSWERED or outcome.listener != join(flow.dst, flow.dport):
                return f"was {outcome}"
            if outcome.peer != flow.src:
                return f"arrived with the source {outcome.peer}"
        return ""

    def _reject(self, flow: Flow, expect: Expect) -> str:
        for index in range(expect.repeat or 2):
            outcome = self._probe(flow, self.patience, index > 0)
            if outcome.fate is not Fate.REJECTED or outcome.arrivals:
                return f"was {outcome}"
        return ""

    def _drop(self, flow: Flow, expect: Expect) -> str:
        for index in range(expect.repeat or 1):
            outcome = self._probe(flow, SILENCE, index > 0)
            if outcome.fate is not Fate.SILENT or outcome.arrivals:
                return f"was {outcome}"
        return ""

    def _http(self, flow: Flow) -> str:
        """A GET; a server that a command has only just started gets a moment to listen."""
        end = time.monotonic() + self.patience
        while True:
            try:
                status = self._get(flow)
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > end:
                    return f"no answer: {error}"
                time.sleep(0.05)
            else:
                return "" if status == flow.status else f"HTTP {status}"

    def _get(self, flow: Flow) -> int:
        with netns.enter(self.lab.topology.home(flow.src)):
            sock = socket.socket(family(flow.dst), socket.SOCK_STREAM)
        with sock:
            sock.settimeout(self.patience)
            sock.bind((flow.src, flow.sport))
            sock.connect((flow.dst, flow.dport))
            connection = http.client.HTTPConnection(flow.dst, flow.dport)
            connection.sock = sock
            connection.request("GET", flow.path)
            return connection.getresponse().status


def _counts(seen: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(seen.items()))
