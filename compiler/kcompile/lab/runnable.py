"""Whether a lab can run the Pods of manifests: their images are mapped, and what has no effect is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigError, SpecError
from ..notices import Notice
from ..spec.text import printable
from . import images
from .given import Given
from .kubelet.unsupported import unsupported

__all__ = ["check_images", "check_volumes", "no_effect"]


def check_images(given: Sequence[Given], own: Mapping[str, Any], *, stand_ins: bool) -> None:
    """Raise ConfigError that names every image without a command, with a file to fill in; UnsupportedError
    for a program that isn't installed.

    `own`: more images than the built-in ones; `stand_ins`: any image will do.
    """
    used = {str(each["image"]): _who(one) for one in given for each in _containers(one)}
    if stand_ins:
        return
    if lacking := images.missing(used, own):
        names = ", ".join(f"{printable(image)} ({who})" for image, who in used.items() if _in(image, lacking))
        ways = "run echo servers in their place with --stand-ins, or fill in a file for --images"
        raise ConfigError(f"no local command is mapped to {names}: {ways}\n{images.stub(lacking)}".rstrip())
    for image, who in used.items():
        images.find(image, own, who)


def check_volumes(given: Sequence[Given]) -> None:
    """Raise SpecError for a container that mounts a volume which its Pod hasn't."""
    for one in given:
        spec = _pod_spec(one.value) or {}
        there = {volume.get("name") for volume in spec.get("volumes") or ()}
        there |= {
            claim["metadata"]["name"]
            for claim in (one.value.get("spec") or {}).get("volumeClaimTemplates") or ()
        }
        for number, container in enumerate(spec.get("containers") or ()):
            for at, mount in enumerate(container.get("volumeMounts") or ()):
                if mount.get("name") not in there:
                    raise _no_volume(one, f"containers[{number}].volumeMounts[{at}].name", mount.get("name"))


def _no_volume(one: Given, field: str, name: Any) -> SpecError:
    base = "spec" if one.named.kind == "Pod" else "spec.template.spec"
    return SpecError(
        f"there is no volume {printable(str(name))}",
        source=printable(one.origin.source),
        document=one.origin.document,
        obj=_who(one),
        field=f"{base}.{field}",
    )


def _in(image: str, names: Sequence[str]) -> bool:
    return images.short_name(image) in names


def no_effect(given: Sequence[Given]) -> list[Notice]:
    """A warning for each object with fields that a lab doesn't carry out."""
    found = []
    for one in given:
        spec = _pod_spec(one.value)
        if spec is not None and (fields := unsupported(spec)):
            text = f"{_who(one)}: no effect in a lab: {', '.join(fields)}"
            found.append(Notice("lab", text, source=printable(one.origin.source)))
    return found


def _who(one: Given) -> str:
    kind, namespace, name = one.named
    return f"{kind} {namespace}/{name}"


def _pod_spec(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The PodSpec of a Pod or of a workload's template; None for other kinds."""
    spec = value.get("spec") or {}
    if value["kind"] == "Pod":
        return spec if isinstance(spec, Mapping) else None
    template = spec.get("template") if isinstance(spec, Mapping) else None
    return (template or {}).get("spec") if isinstance(template, Mapping) else None


def _containers(one: Given) -> Iterator[Mapping[str, Any]]:
    spec = _pod_spec(one.value) or {}
    for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if each.get("image"):
            yield each
