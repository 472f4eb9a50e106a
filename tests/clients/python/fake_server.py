"""A server in this process that answers as the tests say and remembers what it was sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import PIL.Image
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


def find(request: Any, context: grpc.ServicerContext) -> Any:
    """Two objects with masks, of a picture of 20 x 30: a square of 4 x 4 at (5, 3), and the left column."""
    response = messages.DetectResponse()
    response.model.name, response.model.version = "cells", "2"
    square, column = rle([103, 4, 16, 4, 16, 4, 16, 4, 433]), rle([0, 20, 580])
    for _ in request.images:
        result = response.results.add()
        result.image_size.height, result.image_size.width = 20, 30
        for index, (name, score, box, counts) in enumerate(
            (("red", 0.9, (5, 3, 9, 7), square), ("white", 0.5, (0, 0, 1, 20), column))
        ):
            found = result.objects.add(score=score, class_index=index, name=name, category_id=10 + index)
            found.box.x1, found.box.y1, found.box.x2, found.box.y2 = box
            if request.mask_encoding != messages.MaskEncoding["MASK_ENCODING_NONE"].number:
                found.mask.coco_rle.height, found.mask.coco_rle.width, found.mask.coco_rle.counts = 20, 30, counts
    return response


def rle(lengths: list[int]) -> bytes:
    """COCO's text for run lengths, of lengths whose differences fit into ten bits."""
    text = bytearray()
    for index, length in enumerate(lengths):
        value = length - (lengths[index - 2] if index > 2 else 0)
        more = True
        while more:
            low = value & 31
            value >>= 5
            more = value != (-1 if low & 16 else 0)
            text.append(48 + low + (32 if more else 0))
    return bytes(text)


def label(request: Any, context: grpc.ServicerContext) -> Any:
    """Of a picture of 20 x 30 the upper half is sky, the lower road."""
    response = messages.SegmentResponse()
    response.model.name = "streets"
    for _ in request.images:
        result = response.results.add()
        result.image_size.height, result.image_size.width = 20, 30
        picture = PIL.Image.new("P", (30, 20), 0)
        picture.putpalette([10, 20, 200, 90, 90, 90])
        picture.paste(1, (0, 10, 30, 20))
        file = io.BytesIO()
        picture.save(file, "PNG", bits=8)
        result.label_map = file.getvalue()
        result.classes.add(index=0, name="sky", pixels=300)
        result.classes.add(index=1, name="road", pixels=300)
        if request.include_confidence:
            result.confidence.height, result.confidence.width, result.confidence.values = 2, 3, bytes(range(6))
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
        self.detect: Callable[[Any, grpc.ServicerContext], Any] = find
        self.segment: Callable[[Any, grpc.ServicerContext], Any] = label
        self.models: Callable[[Any, grpc.ServicerContext], Any] = two_models
        self.health = {"": 1, "detect": 2}
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers(
            (
                self._service(
                    "spatialmamba.v1.VisionService",
                    Classify=(messages.ClassifyRequest, self._on_classify),
                    Detect=(messages.DetectRequest, self._recorded(lambda *call: self.detect(*call))),
                    Segment=(messages.SegmentRequest, self._recorded(lambda *call: self.segment(*call))),
                    ListModels=(messages.ListModelsRequest, lambda *call: self.models(*call)),
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

    def _recorded(self, answer_to: Callable[..., Any]) -> Callable[..., Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request)
            return answer_to(request, context)

        return handle

    def _on_classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        return self.classify(request, context)

    def _on_check(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.service not in self.health:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service}")
        return messages.HealthCheckResponse(status=self.health[request.service])
