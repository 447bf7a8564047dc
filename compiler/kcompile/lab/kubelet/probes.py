"""When a probe's results change a container's state (pkg/kubelet/prober/worker.go). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Probe", "Streak"]


@dataclass(frozen=True)
class Probe:
    """A probe with its defaults; `action`: the object with exec, httpGet, tcpSocket or grpc."""

    action: Mapping[str, Any]
    initial_delay: float = 0.0
    timeout: float = 1.0
    period: float = 10.0
    success: int = 1
    failure: int = 3
    grace: int | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Probe:
        """The Probe of a container's field."""
        return cls(
            action=data,
            initial_delay=data.get("initialDelaySeconds") or 0,
            timeout=data.get("timeoutSeconds") or 1,
            period=data.get("periodSeconds") or 10,
            success=data.get("successThreshold") or 1,
            failure=data.get("failureThreshold") or 3,
            grace=data.get("terminationGracePeriodSeconds"),
        )


@dataclass
class Streak:
    """The last results of one probe that are the same."""

    probe: Probe
    last: bool | None = None
    length: int = 0

    def add(self, result: bool) -> bool:
        """Take a result in; True if its threshold is reached, so that it is the probe's verdict."""
        self.length = self.length + 1 if result is self.last else 1
        self.last = result
        return self.length >= (self.probe.success if result else self.probe.failure)
