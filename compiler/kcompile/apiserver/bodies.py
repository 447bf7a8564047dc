"""What a request brings, and what an answer looks like over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..spec.decode import without_nulls
from . import status
from .paths import Target
from .protobuf import PROTOBUF, read_protobuf
from .schema import Schema, of_kind, of_type, wrong_type

if TYPE_CHECKING:
    from aiohttp import web

    from .discovery import Document

__all__ = [
    "MAX_BODY",
    "PATCHES",
    "Body",
    "check_types",
    "delete_options",
    "document_answer",
    "dry_run",
    "headers",
    "json_answer",
    "mapping_in",
    "object_in",
    "patch_in",
    "text_answer",
    "typed_in",
]

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request's body, as a real server's limit."""
PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
"""The form of a patch, by its media type."""

_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_GZIP_FROM = 128 * 1024  # bytes: shorter bodies aren't compressed
_GZIP_LEVEL = 1


class Body(NamedTuple):
    """The object of a request, and the JSON that it was; empty where it was protobuf."""

    obj: dict[str, Any]
    raw: bytes


async def object_in(request: web.Request, asked: Target) -> Body:
    """The object that the body holds, with the kind, namespace and name that the path means.

    :raises StatusError: 400 for another object, 413, 415
    """
    resource = asked.resource
    found = await mapping_in(request)
    obj = found.obj
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if kind not in (None, "", resource.kind) or version not in (None, "", resource.api_version):
        wanted = f"{resource.api_version}, Kind={resource.kind}"
        raise status.bad_request(
            f"the object in the request ({version}, Kind={kind}) does not match the expected one ({wanted})"
        )
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise status.bad_request("metadata must be a mapping")
    if resource.namespaced and meta.setdefault("namespace", asked.namespace) != asked.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if asked.name and meta.setdefault("name", asked.name) != asked.name:
        raise status.bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({asked.name})"
        )
    return Body(obj | {"kind": resource.kind, "apiVersion": resource.api_version}, found.raw)


async def delete_options(request: web.Request) -> dict[str, Any]:
    """The DeleteOptions of the body, or else of the query.

    :raises StatusError: 400 for what isn't
    """
    found = (await mapping_in(request)).obj if request.can_read_body else {}
    for name in ("propagationPolicy", "gracePeriodSeconds"):
        if (given := request.query.get(name)) is not None and name not in found:
            found[name] = int(given) if re.fullmatch(r"-?\d{1,9}", given) else given
    check_types(found, of_type(_DELETE_OPTIONS))
    options: dict[str, Any] = without_nulls(found)
    return options


async def typed_in(request: web.Request, version: str, kind: str) -> dict[str, Any]:
    """The object of a kind that the body holds, without nulls.

    :raises StatusError: 400, where it has fields of a wrong type; 413, 415
    """
    found = (await mapping_in(request)).obj
    check_types(found, of_kind(version, kind))
    obj: dict[str, Any] = without_nulls(found)
    return obj


def check_types(obj: dict[str, Any], schema: Schema) -> None:
    """Raise StatusError 400, where a field of `obj` is of a wrong type."""
    if (wrong := wrong_type(schema, obj)) is not None:
        path, found, wanted = wrong
        raise status.bad_request(f"json: cannot unmarshal {found} into field {path} of type {wanted}")


def dry_run(values: Sequence[str]) -> bool:
    """True if nothing is to be written. `values`: what the query or the options have as dryRun.

    :raises StatusError: 422 for anything but All
    """
    for value in values:
        if value != "All":
            cause = status.Cause(
                "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: "All"', "dryRun"
            )
            raise status.invalid("CreateOptions", "", [cause], "meta.k8s.io")
    return bool(values)


async def patch_in(request: web.Request) -> tuple[Any, str, bytes]:
    """The patch of the body, its form and its JSON.

    :raises StatusError: 400, 413; 415 for a form that isn't known, such as server-side apply
    """
    form = PATCHES.get(request.content_type)
    if form is None:
        raise status.unsupported_media_type(*PATCHES)
    raw = await _read(request)
    try:
        return msgspec.json.decode(raw), form, raw
    except msgspec.DecodeError as error:
        raise status.bad_request(f"the body of the request can't be read: {error}") from None


async def mapping_in(request: web.Request) -> Body:
    """The object that the body holds, whatever its kind.

    :raises StatusError: 400, where there is none; 413, 415
    """
    if request.headers.get("Content-Type") and request.content_type not in ("application/json", PROTOBUF):
        raise status.unsupported_media_type("application/json", PROTOBUF)
    raw = await _read(request)
    if request.content_type == PROTOBUF:
        return Body(read_protobuf(raw), b"")
    try:
        return Body(msgspec.json.decode(raw, type=dict[str, Any]), raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise status.bad_request(f"the body of the request can't be read: {error}") from None


async def _read(request: web.Request) -> bytes:
    from aiohttp import web

    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise status.too_large_body(MAX_BODY) from None


def headers() -> dict[str, str]:
    return {"Audit-Id": str(uuid.uuid4()), "Cache-Control": "no-cache, private"}


def text_answer(code: int, text: str) -> web.Response:
    from aiohttp import web

    fields = headers() | {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=code, text=text, headers=fields)


async def json_answer(
    request: web.Request, code: int, body: bytes, more: Mapping[str, str] | None = None
) -> web.Response:
    """`body`, in gzip where it is long and the client takes that. `more`: headers."""
    from aiohttp import web

    fields = headers() | dict(more or {})
    body += b"\n"
    if len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        fields |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(status=code, body=body, content_type="application/json", headers=fields)


async def document_answer(
    request: web.Request, found: Document, media_type: str = "application/json", cache: str = "public"
) -> web.Response:
    """A document, or 304 where the client has it."""
    from aiohttp import web

    fields = headers() | {"Etag": found.tag, "Vary": "Accept", "Cache-Control": cache}
    if found.tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=fields)
    answer = await json_answer(request, 200, found.body, fields)
    answer.headers["Content-Type"] = media_type
    return answer
