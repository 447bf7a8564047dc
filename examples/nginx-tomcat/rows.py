"""The rows of the demo's tables: requests along one path into or through the cluster, and their answers."""

import collections
import contextlib
import http.client
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kcompile.kernel.netns import entered

LEAST, MOST = 12, 200  # requests a row: at least the first; until every pod has answered, at most the second
TIMEOUT = 10.0  # seconds; tomcat compiles a page when it is asked for the first time
ANSWER = re.compile(r"of pod (\S+), asked by (\S+)\.</p>")
HEADS = ("what", "by", "from", "to", "requests", "answered by (node/pod times)", "source address seen")


@dataclass
class Row:
    """`source`: whom it is asked from, in `namespace`; `pods`: name -> ``node/short name`` of those that must
    answer, each of them.

    `wrong(address)` says what is wrong with a source address that a server saw, or nothing.
    """

    what: str
    way: str
    source: str
    namespace: str
    ip: str
    port: int
    path: str
    pods: dict[str, str]
    wrong: Callable[[str], str]
    tls: bool = False
    closed: bool = False
    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    seen: set[str] = field(default_factory=set)
    error: str = ""
    problem: str = ""

    @property
    def title(self) -> str:
        return f"{self.what} by {self.way} from {self.source}"

    @property
    def cells(self) -> tuple[str, ...]:
        result = self.error or "  ".join(f"{pod} {n}" for pod, n in sorted(self.answers.items()))
        asked = str(self.answers.total() + bool(self.error))
        target = f"{self.ip}:{self.port}{self.path}"
        return (self.what, self.way, self.source, target, asked, result, " ".join(sorted(self.seen)))

    def ask(self) -> "Row":
        """Ask until each pod has answered; a closed way once."""
        for number in range(1 if self.closed else MOST):
            if number >= LEAST and len(self.answers) == len(self.pods):
                break
            try:
                text = self._get()
            except ConnectionRefusedError:
                self.error = "refused"
            except OSError as error:
                self.error = f"{type(error).__name__}: {error}"
            if self.error:
                break
            found = ANSWER.search(text)
            if not found or found[1] not in self.pods:
                self.problem = f"not what a pod of its answers: {' '.join(text.split())[:120]}"
                break
            self.answers[self.pods[found[1]]] += 1
            self.seen.add(found[2])
            self.problem = self.problem or self.wrong(found[2])
        if self.closed:
            self.problem = (
                "" if self.error == "refused" else f"it is closed, and yet: {self.error or 'an answer'}"
            )
        elif self.error:
            self.problem = self.error
        elif not self.problem and len(self.answers) != len(self.pods):
            self.problem = f"answered by {len(self.answers)} pods, not by the {len(self.pods)} that it has"
        return self

    def _get(self) -> str:
        context = ssl.create_default_context()
        # the certificate is self-signed, and the URL has an address
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with entered(self.namespace):  # a socket stays in the namespace that it was made in
            kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
            connection = kind(
                self.ip, self.port, timeout=TIMEOUT, **({"context": context} if self.tls else {})
            )
            connection.connect()
        with contextlib.closing(connection):
            connection.request("GET", self.path)
            response = connection.getresponse()
            text = response.read().decode()
            if response.status != http.client.OK:
                raise OSError(f"HTTP {response.status}")
            return text


def table(rows: Iterable[Row], good: str, bad: str, dim: str, plain: str) -> list[str]:
    """The rows as lines, with a mark each, in the colours given."""
    rows = list(rows)
    cells = [HEADS, *(row.cells for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADS))]
    lines = []
    for line, row in zip(cells, [None, *rows], strict=True):
        text = "  ".join(
            c.rjust(w) if i == 4 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        mark, colour = ("  ", dim) if row is None else ("✗ ", bad) if row.problem else ("✓ ", good)
        lines.append(f"  {colour}{mark}{plain}{dim if row is None else ''}{text}{plain}")
    return lines + [f"  {bad}{row.title}: {row.problem}{plain}" for row in rows if row.problem]
