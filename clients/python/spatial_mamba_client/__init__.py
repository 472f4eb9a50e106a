"""Client of the Spatial-Mamba server."""

from spatial_mamba_client.client import Client
from spatial_mamba_client.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SpatialMambaError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unreachable,
)
from spatial_mamba_client.results import Classification, ClassScore, Explanation, ImageSize, Limits, Model, ModelIdentity

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "ClassScore",
    "Classification",
    "Client",
    "DeadlineExceeded",
    "Explanation",
    "FailedPrecondition",
    "FieldViolation",
    "ImageSize",
    "Internal",
    "InvalidArgument",
    "Limits",
    "Model",
    "ModelIdentity",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "SpatialMambaError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unreachable",
]
