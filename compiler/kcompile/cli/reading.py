"""Read the input of a command, once."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.progress import Progress
    from ..engine.read import Edited, Input, Unread
    from ..engine.request import Request

__all__ = ["read_once", "read_unless_known"]


def read_once(request: Request, progress: Progress, *, on_node: bool) -> Input:
    """`read_input`, with garbage collection off from here on: the objects of a big input live until exit."""
    from ..engine.read import read_input

    gc.disable()
    return read_input(request, progress, on_node=on_node)


def read_unless_known(request: Request, progress: Progress) -> Input | Unread | Edited:
    """The same for the node of `request`, but for what its last apply has read already."""
    from ..engine.read import read_again
    from ..engine.session import last_input

    gc.disable()
    return read_again(request, progress, lambda: last_input(request))
