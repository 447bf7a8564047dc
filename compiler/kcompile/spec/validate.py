"""Everything about the input that can be judged before anything is allocated: each object alone, then conflicts between Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .check_endpoints import check_endpoints, check_slice
from .check_others import check_deployment, check_namespace, check_node, check_pod, check_service_cidr
from .check_service import check_service
from .claims import Claims
from .defaults import set_defaults
from .gcpause import gc_paused
from .inventory import Inventory

__all__ = ["validate"]


@gc_paused()
def validate(inventory: Inventory) -> None:
    """Fill in the API's defaults, then raise the first problem, a SpecError or AllocationError.

    Kind by kind, in input order, conflicts last.
    """
    set_defaults(inventory)
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
