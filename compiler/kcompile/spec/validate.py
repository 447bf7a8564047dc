"""Everything about the input that can be judged before anything is filled in: each object alone, then conflicts between Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import SpecError
from .check_endpoints import check_endpoints, check_slice
from .check_others import check_deployment, check_namespace, check_node, check_pod, check_service_cidr
from .check_service import check_service
from .claims import Claims
from .gcpause import gc_paused
from .inventory import Inventory
from .legacy import leave_out_legacy

__all__ = ["validate"]


@gc_paused()
def validate(inventory: Inventory) -> None:
    """Raise the first problem, a SpecError or AllocationError: kind by kind, in input order, conflicts last.

    What an old API server let in and can be left out is (legacy.py), with a warning in `inventory`.
    """
    try:
        _check(inventory)
    except SpecError:
        notices = leave_out_legacy(inventory)
        if not notices:
            raise
        inventory.warnings += notices
        _check(inventory)


def _check(inventory: Inventory) -> None:
    checks: tuple[tuple[list[Any], Callable[[Any], None]], ...] = (
        (inventory.services, check_service),
        (inventory.endpoint_slices, check_slice),
        (inventory.endpoints, check_endpoints),
        (inventory.pods, check_pod),
        (inventory.nodes, check_node),
        (inventory.deployments, check_deployment),
        (inventory.namespaces, check_namespace),
        (inventory.service_cidrs, check_service_cidr),
    )
    for objects, check in checks:
        for obj in objects:
            check(obj)
    claims = Claims()
    for service in inventory.services:
        claims.take_all(service)
