"""The protocol's message classes, built at import from a descriptor set.

No generated code, so no clash with the protobuf version of the application; an own pool, so no clash with messages of the
same names that other packages register.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _load() -> descriptor_pool.DescriptorPool:
    data = resources.files(__package__).joinpath("_descriptors.bin").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    # The set lists every file after those that it imports.
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_pool = _load()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


def _enum(name: str) -> Any:
    return _pool.FindEnumTypeByName(name)


Image = _message("spatialmamba.v1.Image")
ClassifyRequest = _message("spatialmamba.v1.ClassifyRequest")
ClassifyResponse = _message("spatialmamba.v1.ClassifyResponse")
DetectRequest = _message("spatialmamba.v1.DetectRequest")
DetectResponse = _message("spatialmamba.v1.DetectResponse")
SegmentRequest = _message("spatialmamba.v1.SegmentRequest")
SegmentResponse = _message("spatialmamba.v1.SegmentResponse")
ListModelsRequest = _message("spatialmamba.v1.ListModelsRequest")
ListModelsResponse = _message("spatialmamba.v1.ListModelsResponse")
HealthCheckRequest = _message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = _message("grpc.health.v1.HealthCheckResponse")
Status = _message("google.rpc.Status")
ErrorInfo = _message("google.rpc.ErrorInfo")
RetryInfo = _message("google.rpc.RetryInfo")
BadRequest = _message("google.rpc.BadRequest")

PixelFormat = _enum("spatialmamba.v1.PixelFormat").values_by_name
MaskEncoding = _enum("spatialmamba.v1.MaskEncoding").values_by_name
Task = _enum("spatialmamba.v1.Task").values_by_number
ServingStatus = _enum("grpc.health.v1.HealthCheckResponse.ServingStatus").values_by_number
