"""What ``kcompile run`` is asked for, beside the request that every command has."""

from __future__ import annotations

import msgspec

from ..engine.request import Request
from ..kernel.facts import hostname
from ..spec.config import Config
from .serve import Addresses

__all__ = ["Options"]


class Options(msgspec.Struct, kw_only=True):
    """Each field is the option of that name (docs/reference/cli.md).

    `config`: what the request's configuration file says at the start, with the request's options on top.
    `min_sync_period`: seconds between the beginnings of two syncs, at least. `sync_period`: seconds between
    two looks at what the kernel holds. `serves`: health, metrics and status are answered; a bind address
    that is empty has no server, one that is None is that of the configuration, else kube-proxy's.
    `take_over`: remove what kube-proxy has left.
    """

    request: Request
    config: Config
    kubeconfig: str | None = None
    context: str | None = None
    min_sync_period: float = 0.0
    sync_period: float = 30.0
    serves: bool = False
    healthz_bind_address: str | None = None
    metrics_bind_address: str | None = None
    take_over: bool = False

    @property
    def limit(self) -> float:
        """Seconds that a change may wait before the agent is unhealthy: kube-proxy's."""
        return 2 * self.sync_period

    def addresses(self) -> Addresses:
        """Where the servers listen."""
        config, default = self.config, Addresses()
        healthz, metrics = self.healthz_bind_address, self.metrics_bind_address
        return Addresses(
            (config.healthz_bind_address or default.healthz) if healthz is None else healthz,
            (config.metrics_bind_address or default.metrics) if metrics is None else metrics,
        )

    def own_name(self) -> str | None:
        """The name of the own Node. None with manifests and no name given: it is the only Node, or has the
        host's name.
        """
        if self.request.node:
            return self.request.node.strip().lower()
        return self.config.hostname or (None if self.request.reads else hostname())
