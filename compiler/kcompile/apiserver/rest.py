"""A request: who asks, and who of the server answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import openapi, status
from .bodies import document_answer, headers, json_answer, mapping_in, text_answer
from .discovery import DISCOVERY_PATHS, aggregated, old_form
from .negotiate import DISCOVERY, check_accept, wants
from .parts import Parts
from .paths import target
from .pods import PodStreams
from .status import StatusError
from .store import Store
from .streams import Containers
from .tokens import Tokens
from .verbs import Verbs
from .watch import Bell, Pace

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Rest"]

_HEALTH = ("/readyz", "/livez", "/healthz")
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ALLOWED = {"allowed": True, "reason": "this server has no RBAC: who has its token may do everything"}
_OPENAPI = "/openapi/v3"
_VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2+kcompile",
    "gitCommit": "unknown",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


class Rest:
    """Answers requests out of `store`.

    `tokens`: the bearer tokens that it accepts. `containers`: runs exec, attach and logs of pods; None: 501.
    """

    def __init__(
        self, store: Store, bell: Bell, pace: Pace, tokens: Tokens, containers: Containers | None
    ) -> None:
        self._tokens = tokens
        self._verbs, self._parts = Verbs(store, bell, pace), Parts(store, tokens)
        self._pods = PodStreams(store, containers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._tokens.check(request.headers.get("Authorization", ""))
            return await self._answer(request)
        except StatusError as error:
            retry = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
            return await json_answer(request, error.code, error.body(), retry)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in _HEALTH:
            return text_answer(200, "ok")
        if path == "/version":
            return await json_answer(request, 200, msgspec.json.encode(_VERSION))
        if path == _REVIEWS:
            return await _review(request)
        if path == _OPENAPI or path.startswith(f"{_OPENAPI}/"):
            return await _schemas(request)
        if (found := await _discovery(request)) is not None:
            return found
        asked = target(path)
        if asked is None:
            return text_answer(404, "404 page not found\n")
        if asked.part in PodStreams.PARTS:
            return await self._pods.answer(request, asked)
        if asked.part in ("", "status"):
            return await self._verbs.answer(request, asked)
        return await self._parts.answer(request, asked)


async def _discovery(request: web.Request) -> web.StreamResponse | None:
    """The answer, where the path is one of discovery."""
    path = request.path.rstrip("/")
    document = old_form(path)
    if document is None:
        return None
    if request.method != "GET":
        raise status.method_not_allowed()
    if path in DISCOVERY_PATHS and wants(request.headers.get("Accept", ""), DISCOVERY):
        return await document_answer(request, aggregated(core=path == "/api"), DISCOVERY)
    check_accept(request.headers.get("Accept", ""))
    return await json_answer(request, 200, document.body)


async def _schemas(request: web.Request) -> web.StreamResponse:
    """OpenAPI: the index, or a group's document, which never changes under its hash."""
    from aiohttp import web

    if request.method != "GET":
        raise status.method_not_allowed()
    group = request.path.removeprefix(_OPENAPI).strip("/")
    if not group:
        return await document_answer(request, openapi.index(), cache="no-cache, private")
    document = openapi.group_document(group)
    if document is None:
        return text_answer(404, "404 page not found\n")
    asked, own = request.query.get("hash"), openapi.tag_hash(document)
    if asked and asked != own:
        place = {"Location": f"{request.path}?hash={own}"}
        return web.Response(status=301, headers=headers() | place)
    return await document_answer(
        request, document, cache="public, immutable" if asked else "no-cache, private"
    )


async def _review(request: web.Request) -> web.StreamResponse:
    """SelfSubjectAccessReview: whoever is asked for is allowed."""
    if request.method != "POST":
        raise status.method_not_allowed()
    review = (await mapping_in(request)).obj
    if review.get("kind") != "SelfSubjectAccessReview":
        raise status.bad_request("a SelfSubjectAccessReview is expected")
    made = {"metadata": {}, **review, "status": _ALLOWED}
    return await json_answer(request, 201, msgspec.json.encode(made))
