"""The synchronous client."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Literal

import grpc

from spatial_mamba_client import errors, messages, results
from spatial_mamba_client.images import to_message

if TYPE_CHECKING:
    from spatial_mamba_client.images import ChannelOrder, ImageInput

MaskEncoding = Literal["coco_rle", "polygon", "png", "none"]

_SERVICE = "spatialmamba.v1.VisionService"

# When the server says how long to wait, that takes the place of the backoff.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": _SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def is_loopback(target: str) -> bool:
    host = target.rpartition(":")[0].strip("[]") or target
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def channel_options(target: str) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        # Requests above this are never retried; gRPC's default is 256 KB, less than a photo.
        ("grpc.per_rpc_retry_buffer_size", 64 << 20),
        ("grpc.max_receive_message_length", 64 << 20),
    ]
    if is_loopback(target):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy's loopback is not ours
    return options


def classify_request(
    images: Sequence[Any], model: str, version: str, top_k: int | None, logits: bool, explain: bool
) -> Any:
    request = messages.ClassifyRequest(images=images, include_logits=logits, explain=explain)
    request.model.name, request.model.version = model, version
    if top_k is not None:
        request.top_k = top_k
    return request


def detect_request(images: Sequence[Any], model: str, version: str, options: DetectOptions, explain: bool) -> Any:
    request = messages.DetectRequest(images=images, class_indices=options.class_indices, explain=explain)
    request.model.name, request.model.version = model, version
    if options.score_threshold is not None:
        request.score_threshold = options.score_threshold
    if options.max_results is not None:
        request.max_results = options.max_results
    if options.mask_encoding is not None:
        request.mask_encoding = messages.MaskEncoding[f"MASK_ENCODING_{options.mask_encoding.upper()}"].number
    _set_tiling(request, options.tiling)
    return request


def segment_request(
    images: Sequence[Any], model: str, version: str, confidence: bool, explain: bool, tiling: Tiling | None
) -> Any:
    request = messages.SegmentRequest(images=images, include_confidence=confidence, explain=explain)
    request.model.name, request.model.version = model, version
    _set_tiling(request, tiling)
    return request


def _set_tiling(request: Any, tiling: Tiling | None) -> None:
    if tiling is None:
        return
    request.tiling.tile_size = tiling.size
    if tiling.overlap is not None:
        request.tiling.overlap = tiling.overlap


@dataclass(frozen=True)
class Tiling:
    """Cuts a large picture into squares that are worked on as pictures of their own and merged."""

    size: int  # side in pixels of the picture
    overlap: int | None = None  # pixels that neighbours share; None: an eighth of the size


@dataclass(frozen=True)
class DetectOptions:
    """What to find; None: as the model has it."""

    score_threshold: float | None = None  # 0..1
    max_results: int | None = None
    class_indices: tuple[int, ...] = ()  # only these; empty: all
    mask_encoding: MaskEncoding | None = None  # None: COCO run lengths if the model has masks
    tiling: Tiling | None = None  # None: pictures are worked on whole


class Client:
    """A connection to one server, "host:port". Safe to share between threads; close it or use it in a `with` statement.

    Every method takes `deadline`, the seconds that the whole call may take with its retries (None: no end), and raises a
    subclass of SpatialMambaError. What a server refuses with UNAVAILABLE is tried up to five times, after the delay that it
    asks for.
    """

    def __init__(self, target: str = "localhost:8001") -> None:
        self.target = target
        self._channel = grpc.insecure_channel(target, options=channel_options(target))
        self._classify = self._method(_SERVICE, "Classify", messages.ClassifyResponse)
        self._detect = self._method(_SERVICE, "Detect", messages.DetectResponse)
        self._segment = self._method(_SERVICE, "Segment", messages.SegmentResponse)
        self._list_models = self._method(_SERVICE, "ListModels", messages.ListModelsResponse)
        self._check = self._method("grpc.health.v1.Health", "Check", messages.HealthCheckResponse)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def classify(
        self,
        image: ImageInput,
        model: str = "",
        top_k: int | None = 5,
        explain: bool = False,
        deadline: float | None = 10.0,
        *,
        version: str = "",
        logits: bool = False,
        channel_order: ChannelOrder | None = None,
    ) -> results.Classification:
        """The most probable classes of an image: a path, bytes of a file, a PIL image or a numpy array.

        An empty model name means the only classifier that is loaded. An array with three channels needs `channel_order`.
        """
        return self.classify_many(
            [image], model, top_k, explain, deadline, version=version, logits=logits, channel_order=channel_order
        )[0]

    def classify_many(
        self,
        images: Sequence[ImageInput],
        model: str = "",
        top_k: int | None = 5,
        explain: bool = False,
        deadline: float | None = 10.0,
        *,
        version: str = "",
        logits: bool = False,
        channel_order: ChannelOrder | None = None,
    ) -> list[results.Classification]:
        """Like `classify` for several images in one request: all are answered, in order, or none is.

        How many a request may hold is in `models()`: `limits.images_per_request` and `limits.message_bytes`.
        """
        encoded = [to_message(image, channel_order) for image in images]
        request = classify_request(encoded, model, version, top_k, logits, explain)
        return results.classifications(self._call(self._classify, request, deadline))

    def detect(
        self,
        image: ImageInput,
        model: str = "",
        options: DetectOptions = DetectOptions(),
        explain: bool = False,
        deadline: float | None = 30.0,
        *,
        version: str = "",
        channel_order: ChannelOrder | None = None,
    ) -> results.Detection:
        """The objects in an image, with masks where the model has them. Images and models as in `classify`."""
        return self.detect_many([image], model, options, explain, deadline, version=version, channel_order=channel_order)[0]

    def detect_many(
        self,
        images: Sequence[ImageInput],
        model: str = "",
        options: DetectOptions = DetectOptions(),
        explain: bool = False,
        deadline: float | None = 30.0,
        *,
        version: str = "",
        channel_order: ChannelOrder | None = None,
    ) -> list[results.Detection]:
        """Like `detect` for several images in one request: all are answered, in order, or none is."""
        encoded = [to_message(image, channel_order) for image in images]
        request = detect_request(encoded, model, version, options, explain)
        return results.detections(self._call(self._detect, request, deadline))

    def segment(
        self,
        image: ImageInput,
        model: str = "",
        confidence: bool = False,
        explain: bool = False,
        deadline: float | None = 30.0,
        *,
        version: str = "",
        tiling: Tiling | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> results.Segmentation:
        """The class of every pixel of an image; with `confidence` also how certain it is, which is not to be had with `tiling`;
        else as `classify`."""
        return self.segment_many(
            [image], model, confidence, explain, deadline, version=version, tiling=tiling, channel_order=channel_order
        )[0]

    def segment_many(
        self,
        images: Sequence[ImageInput],
        model: str = "",
        confidence: bool = False,
        explain: bool = False,
        deadline: float | None = 30.0,
        *,
        version: str = "",
        tiling: Tiling | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> list[results.Segmentation]:
        """Like `segment` for several images in one request: all are answered, in order, or none is."""
        encoded = [to_message(image, channel_order) for image in images]
        request = segment_request(encoded, model, version, confidence, explain, tiling)
        return results.segmentations(self._call(self._segment, request, deadline))

    def models(self, deadline: float | None = 10.0) -> list[results.Model]:
        """Everything that is loaded."""
        return results.models(self._call(self._list_models, messages.ListModelsRequest(), deadline))

    def health(self, service: str = "", deadline: float | None = 5.0) -> bool:
        """Whether the server answers for `service`: "" (all that it should), liveness, classify, detect, segment."""
        response = self._call(self._check, messages.HealthCheckRequest(service=service), deadline)
        return bool(messages.ServingStatus[response.status].name == "SERVING")

    def _method(self, service: str, name: str, response: Any) -> Callable[..., Any]:
        return self._channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _call(self, method: Callable[..., Any], request: Any, deadline: float | None) -> Any:
        try:
            return method(request, timeout=deadline)
        except grpc.RpcError as error:
            errors.raise_from(error, self.target)
