"""What a request brings, and what an answer looks like over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from . import status
from .paths import Target

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MAX_BODY", "check_accept", "delete_options", "headers", "json_answer", "object_in", "text_answer"]

MAX_BODY = 3 * 1024 * 1024
"""Bytes of a request's body, as a real server's limit."""

_GZIP_FROM = 128 * 1024  # bytes: shorter bodies aren't compressed
_GZIP_LEVEL = 1
_JSON_TYPES = frozenset(("application/json", "*/*", "application/*"))


def check_accept(header: str) -> None:
    """Raise StatusError 406, where the client can't read JSON. A table isn't plain JSON."""
    offers = [offer.strip() for offer in header.split(",") if offer.strip()]
    for offer in offers:
        kind, *parameters = (part.strip() for part in offer.split(";"))
        if kind in _JSON_TYPES and not any(part.startswith("as=") for part in parameters):
            return
    if offers:
        raise status.not_acceptable()


async def object_in(request: web.Request, asked: Target) -> dict[str, Any]:
    """The object that the body holds, with the kind, namespace and name that the path means."""
    resource = asked.resource
    found = await _mapping(request)
    kind, version = found.get("kind"), found.get("apiVersion")
    if kind not in (None, "", resource.kind) or version not in (None, "", resource.api_version):
        wanted = f"{resource.api_version}, Kind={resource.kind}"
        raise status.bad_request(
            f"the object in the request ({version}, Kind={kind}) does not match the expected one ({wanted})"
        )
    meta = found.setdefault("metadata", {})
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
    return found | {"kind": resource.kind, "apiVersion": resource.api_version}


async def delete_options(request: web.Request) -> dict[str, Any]:
    return await _mapping(request) if request.can_read_body else {}


async def _mapping(request: web.Request) -> dict[str, Any]:
    if request.headers.get("Content-Type") and request.content_type != "application/json":
        raise status.unsupported_media_type()
    from aiohttp import web

    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except web.HTTPRequestEntityTooLarge:
        raise status.too_large_body(MAX_BODY) from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise status.bad_request(f"the body of the request can't be read: {error}") from None


def headers() -> dict[str, str]:
    return {"Audit-Id": str(uuid.uuid4()), "Cache-Control": "no-cache, private"}


def text_answer(code: int, text: str) -> web.Response:
    from aiohttp import web

    fields = headers() | {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=code, text=text, headers=fields)


async def json_answer(
    request: web.Request, code: int, body: bytes, more: Mapping[str, str] | None = None
) -> web.Response:
    from aiohttp import web

    fields = headers() | dict(more or {})
    body += b"\n"
    if len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        fields |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(status=code, body=body, content_type="application/json", headers=fields)
