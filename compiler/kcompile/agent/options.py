"""What ``kcompile run`` is asked for, beside the request that every command has."""

from __future__ import annotations

import msgspec

from ..engine.request import Request

__all__ = ["Options"]


class Options(msgspec.Struct, kw_only=True):
    """Each field is the option of that name (docs/reference/cli.md).

    `min_sync_period`: seconds between the beginnings of two syncs, at least. `sync_period`: seconds between
    two looks at what the kernel holds. `serves`: health, metrics and status are answered; a bind address
    that is empty has no server. `take_over`: remove what kube-proxy has left.
    """

    request: Request
    kubeconfig: str | None = None
    context: str | None = None
    min_sync_period: float = 0.0
    sync_period: float = 30.0
    serves: bool = False
    healthz_bind_address: str = "0.0.0.0:10256"
    metrics_bind_address: str = "127.0.0.1:10249"
    take_over: bool = False

    @property
    def limit(self) -> float:
        """Seconds that a change may wait before the agent is unhealthy: kube-proxy's."""
        return 2 * self.sync_period
