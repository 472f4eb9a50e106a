"""A server in this process that answers as the tests say and remembers what it was sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2
from spatial_mamba_client import messages


def any_of(message: Any) -> Any:
    packed = any_pb2.Any(type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString())
    return packed


def refuse(context: grpc.ServicerContext, code: grpc.StatusCode, message: str, *details: Any, **trailers: str) -> None:
    status = messages.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().ParseFromString(any_of(detail).SerializeToString())
    metadata: list[tuple[str, Any]] = [("grpc-status-details-bin", status.SerializeToString())] if details else []
    metadata += [(key.replace("_", "-"), value) for key, value in trailers.items()]
    context.set_trailing_metadata(metadata)
    context.abort(code, message)


def busy(context: grpc.ServicerContext, seconds: float = 0.05) -> None:
    """As the server does it when its queue is full."""
    retry = messages.RetryInfo()
    retry.retry_delay.nanos = round(seconds * 1e9)
    info = messages.ErrorInfo(reason="QUEUE_FULL", domain="spatialmamba", metadata={"limit": "1024"})
    milliseconds = str(round(seconds * 1000))
    refuse(context, grpc.StatusCode.UNAVAILABLE, "the queue is full", info, retry, grpc_retry_pushback_ms=milliseconds)


def answer(request: Any) -> Any:
    """Three classes, as many as were asked for, and the size of each raw image."""
    response = messages.ClassifyResponse()
    response.model.name, response.model.version, response.model.weights_sha256 = "clothing", "1", "ab" * 32
    for image in request.images:
        result = response.results.add()
        result.image_size.height, result.image_size.width = image.raw.height or 20, image.raw.width or 30
        for index, (name, probability) in enumerate((("hat", 0.75), ("shoes", 0.2), ("pants", 0.05))):
            if index < request.top_k:
                scored = result.classes.add(index=index, name=name, probability=probability)
                if request.include_logits:
                    scored.logit = -float(index)
        if request.explain:
            result.explanation.queue.nanos = 1_500_000
            result.explanation.inference.seconds = 2
            result.explanation.batch_size = 4
            result.explanation.batch_closed_by = "idle"
            result.explanation.device = "cpu"
    return response


def two_models(_: Any, __: grpc.ServicerContext) -> Any:
    response = messages.ListModelsResponse()
    model = response.models.add(name="clothing", version="1", task=1, variant="custom", ready=True)
    model.classes.add(index=0, name="hat")
    model.limits.images_per_request = 64
    response.models.add(name="newer", version="2", task=77)
    return response


class FakeServer:
    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.classify: Callable[[Any, grpc.ServicerContext], Any] = lambda request, context: answer(request)
        self.health = {"": 1, "detect": 2}
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers(
            (
                self._service(
                    "spatialmamba.v1.VisionService",
                    Classify=(messages.ClassifyRequest, self._on_classify),
                    ListModels=(messages.ListModelsRequest, two_models),
                ),
                self._service("grpc.health.v1.Health", Check=(messages.HealthCheckRequest, self._on_check)),
            )
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait(10)

    @staticmethod
    def _service(name: str, **methods: tuple[Any, Callable[..., Any]]) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            name,
            {
                method: grpc.unary_unary_rpc_method_handler(
                    function, request.FromString, lambda message: message.SerializeToString()
                )
                for method, (request, function) in methods.items()
            },
        )

    def _on_classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        return self.classify(request, context)

    def _on_check(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.service not in self.health:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service}")
        return messages.HealthCheckResponse(status=self.health[request.service])
