"""Errors with what the server says about them: canonical code, reason, when to try again, which fields were wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from spatial_mamba_client import messages


@dataclass(frozen=True)
class FieldViolation:
    field: str  # a path, such as images[3].encoded
    description: str


class SpatialMambaError(Exception):
    """A call failed. The subclasses tell the canonical codes apart."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        retry_delay: float | None = None,
        field_violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason  # for programs, such as QUEUE_FULL; "" if the server gave none
        self.retry_delay = retry_delay  # seconds after which the server expects to have room; None: trying again will not help
        self.field_violations = tuple(field_violations)
        self.metadata = dict(metadata or {})  # facts about the reason, such as limit and value

    def __str__(self) -> str:
        text = f"{self.code.name}: {self.message}"
        if self.reason:
            text += f" [{self.reason}]"
        for violation in self.field_violations:
            if violation.description in self.message:
                continue  # said already
            text += f"\n  {violation.field}: {violation.description}"
        if self.retry_delay is not None:
            text += f"\n  try again in {self.retry_delay:g} s"
        return text


class Cancelled(SpatialMambaError):
    pass


class InvalidArgument(SpatialMambaError):
    pass


class DeadlineExceeded(SpatialMambaError):
    pass


class NotFound(SpatialMambaError):
    pass


class PermissionDenied(SpatialMambaError):
    pass


class ResourceExhausted(SpatialMambaError):
    pass


class FailedPrecondition(SpatialMambaError):
    pass


class Unimplemented(SpatialMambaError):
    pass


class Internal(SpatialMambaError):
    pass


class Unavailable(SpatialMambaError):
    pass


class Unreachable(Unavailable):
    """No server answered at the address at all."""


class Unauthenticated(SpatialMambaError):
    pass


_BY_CODE: dict[grpc.StatusCode, type[SpatialMambaError]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def _details(trailers: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """What `grpc-status-details-bin` holds; nothing if it is absent or of another make."""
    serialized = next((value for key, value in trailers if key == "grpc-status-details-bin"), b"")
    found: dict[str, Any] = {}
    try:
        for detail in messages.Status.FromString(serialized).details:
            kind = detail.type_url.rpartition("/")[2]
            if kind == "google.rpc.ErrorInfo":
                info = messages.ErrorInfo.FromString(detail.value)
                found.update(reason=info.reason, metadata=dict(info.metadata))
            elif kind == "google.rpc.RetryInfo":
                delay = messages.RetryInfo.FromString(detail.value).retry_delay
                found["retry_delay"] = delay.seconds + delay.nanos * 1e-9
            elif kind == "google.rpc.BadRequest":
                violations = messages.BadRequest.FromString(detail.value).field_violations
                found["field_violations"] = [FieldViolation(v.field, v.description) for v in violations]
    except DecodeError:
        return {}
    return found


def raise_from(error: Any, target: str) -> NoReturn:
    """Raises the typed error for what gRPC raised in a call to `target`."""
    code = error.code()
    message = error.details() or "the server gave no message"
    details = _details(error.trailing_metadata() or ())
    kind = _BY_CODE.get(code, SpatialMambaError)
    if code == grpc.StatusCode.UNAVAILABLE and not details:
        kind, message = Unreachable, f"cannot reach a server at {target}; is it running? ({message})"
    raise kind(code, message, **details) from error
