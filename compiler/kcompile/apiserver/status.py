"""What the server refuses, as Kubernetes' Status objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ..errors import KcompileError
from .resources import Resource

__all__ = [
    "Cause",
    "StatusError",
    "already_exists",
    "bad_request",
    "being_terminated",
    "conflict",
    "expired",
    "invalid",
    "method_not_allowed",
    "not_acceptable",
    "not_found",
    "not_served",
    "not_supported",
    "success",
    "too_large_body",
    "too_large_version",
    "unauthorized",
    "unsupported_media_type",
]


class Cause(NamedTuple):
    """One field that was wrong. `reason` is FieldValueInvalid, FieldValueRequired, FieldValueForbidden."""

    reason: str
    message: str
    field: str


class StatusError(KcompileError):
    """A request that is answered with a Status of Failure.

    `code` is the HTTP status, `reason` Kubernetes' word for it. `token`: where a list that expired can go on.
    `retry_after`: seconds for the header Retry-After, or 0.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        token: str = "",
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details
        self.token, self.retry_after = token, retry_after

    def status(self) -> dict[str, Any]:
        """The Status object."""
        details = {} if self.details is None else {"details": self.details}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.token} if self.token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **details,
            "code": self.code,
        }

    def body(self) -> bytes:
        """The Status object in JSON."""
        return msgspec.json.encode(self.status())


def success(resource: Resource, name: str, uid: str) -> dict[str, Any]:
    """The Status of a deletion that answers without the object."""
    details = {"name": name, **_group(resource), "kind": resource.plural, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def not_served() -> StatusError:
    """404 for a resource that a served group doesn't have."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def not_found(resource: Resource, name: str) -> StatusError:
    message = f'{resource.qualified} "{name}" not found'
    return StatusError(404, "NotFound", message, _named(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    message = f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _named(resource, name))


def conflict(resource: Resource, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _named(resource, name))


def being_terminated(resource: Resource, name: str, namespace: str) -> StatusError:
    """403: a new object in a Namespace that is being deleted."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
    causes = [cause | {"field": "metadata.namespace"}]
    return StatusError(403, "Forbidden", message, _named(resource, name) | {"causes": causes})


def invalid(kind: str, name: str, causes: Sequence[Cause], group: str = "") -> StatusError:
    """422: the object, or the options of a list, can't be so."""
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    where = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {"name": name} if name else {}
    if group:
        details["group"] = group
    details |= {"kind": kind, "causes": [cause._asdict() for cause in causes]}
    return StatusError(422, "Invalid", f'{where} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def not_supported(message: str) -> StatusError:
    """501: what this server doesn't do."""
    return StatusError(501, "NotImplemented", message)


def not_acceptable() -> StatusError:
    message = "only the following media types are accepted: application/json"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(*accepted: str) -> StatusError:
    said = ", ".join(accepted or ("application/json",))
    message = f"the body of the request was in an unknown format - accepted media types include: {said}"
    return StatusError(415, "UnsupportedMediaType", message)


def too_large_body(limit: int) -> StatusError:
    return StatusError(
        413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}", {"retryAfterSeconds": 0}
    )


def expired(message: str, token: str = "") -> StatusError:
    """410: the version that was asked for is forgotten."""
    return StatusError(410, "Expired", message, token=token)


def too_large_version(version: int, current: int) -> StatusError:
    """504: a version that the store hasn't reached."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    details = {"causes": causes, "retryAfterSeconds": 1}
    return StatusError(504, "Timeout", message, details, retry_after=1)


def _group(resource: Resource) -> dict[str, str]:
    return {"group": resource.group} if resource.group else {}


def _named(resource: Resource, name: str) -> dict[str, str]:
    return {"name": name, **_group(resource), "kind": resource.plural}
