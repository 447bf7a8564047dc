"""How long a container that keeps ending waits. Pure.

pkg/kubelet/kuberuntime (doBackOff) over client-go/util/flowcontrol: the first restart is at once; then 10 s,
doubled each time up to 5 min; ten minutes of running make it new. The lab begins with one second.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff"]

_FIRST, _LARGEST = 1.0, 300.0
_GOOD = 2 * _LARGEST


@dataclass
class Backoff:
    """The delays of one container, or of one image's pulls. `delay`: the last one, 0 before the first."""

    first: float = _FIRST
    largest: float = _LARGEST
    delay: float = 0.0
    ends: int = 0

    def ended(self, ran: float = 0.0) -> float:
        """Seconds to wait before the next start, after one that ran `ran` seconds; 0 after the first."""
        if ran >= _GOOD:
            self.ends = 0
        self.ends += 1
        self.delay = 0.0 if self.ends == 1 else min(self.first * 2 ** (self.ends - 2), self.largest)
        return self.delay
