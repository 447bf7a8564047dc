"""Checks everything that needs no allocation: each object alone, then conflicts between Services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import SpecError
from .check_endpoints import check_endpoints, check_slice
from .check_others import check_namespace, check_node, check_pod, check_service_cidr, check_workload
from .check_service import check_service
from .claims import Claims
from .defaults import default_endpoints, default_pod, default_service, default_slice, default_workload
from .gcpause import gc_paused
from .inventory import Inventory
from .legacy import leave_out_legacy

__all__ = ["validate"]


@gc_paused()
def validate(inventory: Inventory) -> None:
    """Fill in the API's defaults, and raise the first problem, a SpecError or AllocationError.

    Kind by kind, in input order, conflicts last.

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
    for service in inventory.services:
        default_service(service)
        check_service(service)
    for item in inventory.endpoint_slices:
        default_slice(item)
        check_slice(item)
    for endpoints in inventory.endpoints:
        default_endpoints(endpoints)
        check_endpoints(endpoints)
    for pod in inventory.pods:
        default_pod(pod)
        check_pod(pod)
    for workload in (*inventory.deployments, *inventory.workloads):
        default_workload(workload)
        check_workload(workload)
    unfilled: tuple[tuple[list[Any], Callable[[Any], None]], ...] = (
        (inventory.nodes, check_node),
        (inventory.namespaces, check_namespace),
        (inventory.service_cidrs, check_service_cidr),
    )
    for objects, check in unfilled:
        for obj in objects:
            check(obj)
    claims = Claims()
    for service in inventory.services:
        claims.take_all(service)
