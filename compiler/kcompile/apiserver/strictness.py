"""Field validation: what is done about fields that the API doesn't have, or that come twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..spec.fields import duplicates
from .resources import Resource
from .schema import known, of_kind
from .status import Cause, StatusError, bad_request, invalid

__all__ = ["Strictness", "patch_refused"]

_LEVELS = ("Ignore", "Warn", "Strict")


class Strictness(NamedTuple):
    """What a request says: Ignore, Warn or Strict."""

    level: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Strictness:
        """The query's fieldValidation.

        :raises StatusError: 422, where it is none
        """
        level = query.get("fieldValidation") or "Warn"
        if level not in _LEVELS:
            said = ", ".join(f'"{each}"' for each in _LEVELS)
            message = f'Unsupported value: "{level}": supported values: {said}'
            raise invalid(
                "CreateOptions",
                "",
                [Cause("FieldValueNotSupported", message, "fieldValidation")],
                "meta.k8s.io",
            )
        return cls(level)

    def read_fields(
        self, resource: Resource, obj: dict[str, Any], raw: bytes = b""
    ) -> tuple[dict[str, Any], list[str]]:
        """`obj` without the fields that its kind doesn't have, and what there is to warn of.

        `raw`: the JSON it was, in which keys may have come twice.

        :raises StatusError: 400 for Strict, where there is anything
        """
        kept, unknown = known(of_kind(resource.api_version, resource.kind), obj)
        if self.level == "Ignore":
            return kept, []
        said = [f'unknown field "{path}"' for path in unknown]
        said += [f'duplicate field "{each.field}"' for each in (duplicates(raw) if raw else ())]
        if said and self.level == "Strict":
            where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise bad_request(f"{where}: strict decoding error: {', '.join(said)}")
        return kept, said


def patch_refused(patch: bytes, error: StatusError) -> StatusError:
    """The refusal of a patch after which an object has unknown fields."""
    why = error.message.partition(": ")[2]
    message = f'Invalid value: "{patch.decode(errors="replace")}": {why}'
    return invalid("", "", [Cause("FieldValueInvalid", message, "patch")])
