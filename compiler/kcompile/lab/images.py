"""Maps image names to local commands: those of images.yaml beside this module, and of the user's files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from .. import spawn
from ..errors import ConfigError, UnsupportedError
from ..spec.text import printable
from ..spec.yaml_reader import yaml_documents

__all__ = [
    "MODULE",
    "PYTHON",
    "Image",
    "command_of",
    "find",
    "for_container",
    "missing",
    "read_images",
    "short_name",
    "stub",
]


_STAND_IN = "kcompile/echo"
_HTTP = 80
PYTHON = "{python}"
"""A word of a command that stands for the Python that runs kcompile."""
MODULE = "{module}"
"""Stands for all that comes before the name of a module of kcompile's own, to run it with nothing of the
current folder.
"""


class Image(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One image, as images.yaml describes the fields."""

    entrypoint: list[str] = []
    command: list[str] = []
    needs: dict[str, str] = {}
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    prepare: str = ""
    user: str = ""
    workdir: str = ""
    stop_signal: str = msgspec.field(default="", name="stopSignal")

    @property
    def is_own(self) -> bool:
        """True where kcompile itself runs in it."""
        return bool({PYTHON, MODULE} & set(self.entrypoint))

    @property
    def identity(self) -> str:
        """What a containerStatus has as its imageID: a hash of all this."""
        return f"sha256:{hashlib.sha256(msgspec.json.encode(self)).hexdigest()}"


def short_name(image: str) -> str:
    """``docker.io/library/nginx:1.27@sha256:...`` is ``nginx``."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    return name.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")


def read_images(path: str | Path) -> dict[str, Any]:
    """The images of one file, checked, as plain data. Raises ConfigError."""
    where = printable(str(path))
    try:
        documents = [document for _, document in yaml_documents(Path(path).read_bytes())]
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    except Exception as error:  # the reader's own, which isn't a KcompileError
        raise ConfigError(f"{where}: {error}") from None
    images: dict[str, Any] = {}
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ConfigError(f"{where}: must be a mapping of image names")
        images |= document
    for name, fields in images.items():
        try:
            msgspec.convert({key: value for key, value in fields.items() if key != "from"}, Image)
        except (msgspec.ValidationError, AttributeError) as error:
            raise ConfigError(f"{where}: image {printable(name)}: {error}") from None
    return images


@cache
def _built_in() -> dict[str, Any]:
    return read_images(Path(__file__).parent / "images.yaml")


def find(image: str, own: Mapping[str, Any], who: str) -> Image:
    """What to run for `image`; `own` images come first.

    Raises ConfigError where no command is mapped to it, UnsupportedError where its program isn't installed;
    the message begins with `who`.
    """
    images = _built_in() | dict(own)
    name = short_name(image)
    chain: list[dict[str, Any]] = []
    while True:
        fields = images.get(name)
        if fields is None:
            raise ConfigError(f"{who}: image {printable(image)}: {_unmapped(name, images)}")
        chain.append(fields)
        if "from" not in fields:
            break
        name = fields["from"]
        if len(chain) > len(images):
            raise ConfigError(f"image {printable(name)}: its `from` leads in a circle")
    merged: dict[str, Any] = {}
    for fields in reversed(chain):
        both = {key: merged.get(key, {}) | fields.get(key, {}) for key in ("env", "files")}
        merged |= {key: value for key, value in fields.items() if key != "from"} | both
    found = msgspec.convert(merged, Image)
    for path, package in found.needs.items():
        if not (Path(path).exists() if path.startswith("/") else spawn.find(path)):
            raise UnsupportedError(f"{who}: image {printable(image)} needs {path}: apt-get install {package}")
    return found


def for_container(
    container: Mapping[str, Any], own: Mapping[str, Any], *, stand_ins: bool
) -> tuple[Image, Mapping[str, Any]]:
    """What to run for a container of a pod, and the container as it is to be started.

    With `stand_ins`, an image that isn't mapped, or whose program this machine hasn't, is the echo server on
    the ports that the container declares; its command isn't run. Else raises what `find` raises.
    """
    try:
        return find(container.get("image") or "", own, f"container {container['name']}"), container
    except (ConfigError, UnsupportedError):
        if not stand_ins:
            raise
    image = find(_STAND_IN, own, "stand-in")
    declared = container.get("ports") or [{"containerPort": _HTTP}]
    ports = {"PORT": _declared(declared, "TCP"), "UDP_PORT": _declared(declared, "UDP")}
    image = msgspec.structs.replace(image, env=image.env | ports)
    variables = [each for each in container.get("env") or () if each["name"] not in ports]
    return image, {**container, "command": None, "args": None, "env": variables, "workingDir": ""}


def _declared(ports: Iterable[Mapping[str, Any]], protocol: str) -> str:
    numbers = [each["containerPort"] for each in ports if each.get("protocol", "TCP") == protocol]
    return ",".join(map(str, dict.fromkeys(numbers)))


def missing(names: Iterable[str], own: Mapping[str, Any]) -> list[str]:
    """Those of the image names that no command is mapped to, as images.yaml would have them, sorted."""
    known = _built_in() | dict(own)
    return sorted({short_name(name) for name in names} - set(known))


def stub(names: Iterable[str]) -> str:
    """A file for --images to fill in, for images that are `missing`."""
    lines = (
        f'"{name}": {{command: [/usr/bin/program], needs: {{/usr/bin/program: package}}}}\n' for name in names
    )
    return "".join(lines)


def _unmapped(name: str, images: Iterable[str]) -> str:
    example = f"`{printable(name)}: {{command: [/usr/bin/program]}}`"
    known = ", ".join(sorted(images))
    return (
        f"no local command is mapped to this image. Known images: {known}. "
        f"Map it with --images FILE, for example {example}"
    )


def command_of(image: Image, command: Sequence[str] | None, args: Sequence[str] | None) -> list[str]:
    """The command line of a container, by Kubernetes' rule for `command` and `args` (docs: "Define a Command
    and Arguments for a Container").
    """
    if command:
        words = [*command, *(args or ())]
    else:
        words = [*image.entrypoint, *(image.command if args is None else args)]
    stands_for = {PYTHON: [sys.executable], MODULE: spawn.python("kcompile")[:-1]}
    return [each for word in words for each in stands_for.get(word, [word])]
