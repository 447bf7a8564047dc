"""The topology as a picture: hosts and pods, and the path of each measured way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from .scenario import PATHS

__all__ = ["topology"]

_BOXES = (
    # x, y, width, height, class, title, whose address stands below it
    (14, 14, 250, 58, "box", "outside client", "outside"),
    (14, 136, 342, 214, "box", "node A", "node-a"),
    (384, 136, 164, 214, "box", "node B", "node-b"),
    (30, 274, 118, 60, "box pod", "client pod", "pod-a"),
    (218, 274, 122, 60, "box pod", "server pods", ""),
    (406, 274, 118, 60, "box pod", "client pod", "pod-b"),
)
_WIRES = "M139 72V104H466V136M139 104V136"
_WAYS = (
    # path, arrow, where its number stands
    ("pod-direct", "M148 312H218", (183, 312)),
    ("pod-clusterip", "M90 274V236H240V274", (160, 236)),
    ("outside-direct", "M216 72V248H262V274", (216, 222)),
    ("outside-nodeport", "M190 72V208H284V274", (236, 208)),
    ("outside-nodeport-far", "M242 72V120H540V226H322V274", (410, 120)),
    ("far-clusterip", "M440 274V250H304V274", (440, 250)),
    ("node-clusterip", "M330 186V274", (330, 206)),
)


def topology(paths: Iterable[str], addresses: Mapping[str, str]) -> str:
    """The picture, with the ways of those `paths` that were measured, numbered, and a list of what the
    numbers are.

    Who has none of the `addresses` isn't there.
    """
    measured = set(paths)
    ways = [way for way in _WAYS if way[0] in measured]
    parts = [
        f'<path class="wire" d="{_WIRES}"/><text class="small" x="290" y="96">one wire (a switch)</text>'
    ]
    for x, y, width, height, kind, title, who in _BOXES:
        if who and who not in addresses:
            continue
        address = f"{addresses[who]}{', the rules' * who.startswith('node')}" if who else "the endpoints"
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        parts.append(f'<text class="head" x="{x + 10}" y="{y + 22}">{title}</text>')
        parts.append(f'<text class="small" x="{x + 10}" y="{y + 40}">{escape(address)}</text>')
    marks = []
    for number, (_, arrow, (x, y)) in enumerate(ways, 1):
        parts.append(f'<path class="way w{number}" d="{arrow}"/>')
        marks.append(f'<circle class="number w{number}" cx="{x}" cy="{y}" r="9"/>')
        marks.append(f'<text class="in" x="{x}" y="{y + 4.5}">{number}</text>')
    parts += marks
    height = 376
    for number, (name, _, _) in enumerate(ways, 1):
        parts.append(
            f'<text x="20" y="{height + 20 * number - 20}">{number}  {escape(PATHS[name].title)}</text>'
        )
    height += 20 * len(ways)
    title = "Topology: an outside client and two nodes on one wire, pods behind each node"
    start = f'<svg viewBox="0 0 560 {height}" role="img" aria-label="{title}"><title>{title}</title>'
    return f"{start}{''.join(parts)}</svg>"
