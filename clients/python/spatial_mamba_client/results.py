"""Answers as plain data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from spatial_mamba_client import masks, messages
from spatial_mamba_client.masks import Mask

if TYPE_CHECKING:
    import numpy
    import PIL.Image

    from spatial_mamba_client.images import ChannelOrder, ImageInput


class ImageSize(NamedTuple):
    """Pixels, after the EXIF orientation was applied."""

    height: int
    width: int


@dataclass(frozen=True)
class ModelIdentity:
    name: str
    version: str
    weights_sha256: str


@dataclass(frozen=True)
class ClassScore:
    index: int
    name: str
    probability: float  # softmax over all classes
    logit: float | None = None  # only if asked for


@dataclass(frozen=True)
class Explanation:
    """Where the time of one image went, in seconds."""

    prepare_wait: float  # from the arrival of the request until the image was decoded
    decode: float
    preprocess: float
    queue: float  # from then until its batch was started
    inference: float
    postprocess: float
    predicted: float  # from the arrival to the answer, as predicted on admission
    batches_ahead: int  # batches of any model that were started while it waited
    batch_size: int  # images that shared the forward pass
    batch_closed_by: str  # full | idle | deadline | drain
    device: str
    tiles: int = 0  # that the picture was cut into; 0: none. Times are then sums over them, waits the longest
    batches: int = 0  # forward passes that they were spread over


@dataclass(frozen=True)
class Classification:
    classes: tuple[ClassScore, ...]  # by falling probability
    image_size: ImageSize
    model: ModelIdentity
    explanation: Explanation | None = None  # only if asked for

    @property
    def top(self) -> ClassScore:
        return self.classes[0]

    def draw(
        self, image: ImageInput, *, title: str = "", note: str = "", channel_order: ChannelOrder | None = None
    ) -> PIL.Image.Image:
        """The picture with a panel below it: the top class, or `title`, a small `note`, and a bar for each class.

        Needs Pillow. Small pictures are enlarged until the text is legible.
        """
        from spatial_mamba_client import drawing

        bars = [(score.name, score.probability) for score in self.classes]
        return drawing.with_bars(drawing.open_image(image, channel_order), title or self.top.name, note, bars)


class Box(NamedTuple):
    """Corners in pixels of the picture, not rounded."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class DetectedObject:
    box: Box
    score: float
    class_index: int
    name: str
    category_id: int  # the data set's own number
    mask: Mask | None = None  # only if the model has masks and they were asked for


@dataclass(frozen=True)
class Detection:
    objects: tuple[DetectedObject, ...]  # by falling score
    image_size: ImageSize
    model: ModelIdentity
    explanation: Explanation | None = None  # only if asked for

    def draw(
        self,
        image: ImageInput,
        *,
        title: str = "",
        note: str = "",
        min_width: int = 320,
        channel_order: ChannelOrder | None = None,
    ) -> PIL.Image.Image:
        """The picture with boxes, names, scores and see-through masks, over a panel with `title` and `note` if given.

        Needs Pillow. Smaller pictures are enlarged to `min_width`, so that the text is legible.
        """
        from spatial_mamba_client import drawing

        return drawing.with_objects(drawing.open_image(image, channel_order), self.objects, title, note, min_width)

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """One entry an object as the COCO tools read results: pycocotools' `COCO.loadRes` takes the list as it is."""
        return [_coco_entry(found, image_id) for found in self.objects]


@dataclass(frozen=True)
class ClassShare:
    index: int
    name: str
    pixels: int


@dataclass(frozen=True)
class ConfidenceMap:
    """One byte a pixel, row by row, 255 = certain, at a reduced resolution."""

    height: int
    width: int
    values: bytes


@dataclass(frozen=True)
class Segmentation:
    label_map: bytes  # a PNG file whose pixel values are class indices
    classes: tuple[ClassShare, ...]  # those that occur, by index
    image_size: ImageSize
    model: ModelIdentity
    confidence: ConfidenceMap | None = None  # only if asked for
    explanation: Explanation | None = None  # only if asked for

    def labels(self) -> numpy.ndarray[Any, Any]:
        """Class indices, [height, width]. Needs Pillow and numpy."""
        import numpy
        import PIL.Image

        return numpy.asarray(PIL.Image.open(io.BytesIO(self.label_map)))

    def draw(
        self,
        image: ImageInput,
        *,
        title: str = "",
        note: str = "",
        min_width: int = 320,
        channel_order: ChannelOrder | None = None,
    ) -> PIL.Image.Image:
        """The picture tinted by class, over a legend of the classes that occur, with `title` and `note` if given.

        Needs Pillow. Smaller pictures are enlarged to `min_width`, so that the text is legible.
        """
        from spatial_mamba_client import drawing

        return drawing.with_labels(
            drawing.open_image(image, channel_order), self.label_map, self.classes, title, note, min_width
        )


@dataclass(frozen=True)
class Limits:
    image_pixels: int
    images_per_request: int
    message_bytes: int


@dataclass(frozen=True)
class Model:
    name: str
    version: str
    task: str  # classify | detect | segment
    variant: str  # tiny | small | base | custom
    classes: tuple[str, ...]
    limits: Limits
    precision: str
    device: str
    weights_sha256: str
    ready: bool


def _seconds(duration: Any) -> float:
    return float(duration.seconds + duration.nanos * 1e-9)


def _explanation(message: Any) -> Explanation:
    return Explanation(
        prepare_wait=_seconds(message.prepare_wait),
        decode=_seconds(message.decode),
        preprocess=_seconds(message.preprocess),
        queue=_seconds(message.queue),
        inference=_seconds(message.inference),
        postprocess=_seconds(message.postprocess),
        predicted=_seconds(message.predicted),
        batches_ahead=message.batches_ahead,
        batch_size=message.batch_size,
        batch_closed_by=message.batch_closed_by,
        device=message.device,
        tiles=message.tiles,
        batches=message.batches,
    )


def classifications(response: Any) -> list[Classification]:
    """The results of a ClassifyResponse, in the order of the request."""
    model = ModelIdentity(response.model.name, response.model.version, response.model.weights_sha256)
    return [
        Classification(
            classes=tuple(
                ClassScore(c.index, c.name, c.probability, c.logit if c.HasField("logit") else None) for c in result.classes
            ),
            image_size=ImageSize(result.image_size.height, result.image_size.width),
            model=model,
            explanation=_explanation(result.explanation) if result.HasField("explanation") else None,
        )
        for result in response.results
    ]


def detections(response: Any) -> list[Detection]:
    """The results of a DetectResponse, in the order of the request."""
    model = ModelIdentity(response.model.name, response.model.version, response.model.weights_sha256)
    return [
        Detection(
            objects=tuple(
                DetectedObject(
                    box=Box(found.box.x1, found.box.y1, found.box.x2, found.box.y2),
                    score=found.score,
                    class_index=found.class_index,
                    name=found.name,
                    category_id=found.category_id,
                    mask=masks.from_message(found.mask, result.image_size) if found.HasField("mask") else None,
                )
                for found in result.objects
            ),
            image_size=ImageSize(result.image_size.height, result.image_size.width),
            model=model,
            explanation=_explanation(result.explanation) if result.HasField("explanation") else None,
        )
        for result in response.results
    ]


def segmentations(response: Any) -> list[Segmentation]:
    """The results of a SegmentResponse, in the order of the request."""
    model = ModelIdentity(response.model.name, response.model.version, response.model.weights_sha256)
    return [
        Segmentation(
            label_map=result.label_map,
            classes=tuple(ClassShare(share.index, share.name, share.pixels) for share in result.classes),
            image_size=ImageSize(result.image_size.height, result.image_size.width),
            model=model,
            confidence=ConfidenceMap(result.confidence.height, result.confidence.width, result.confidence.values)
            if result.HasField("confidence")
            else None,
            explanation=_explanation(result.explanation) if result.HasField("explanation") else None,
        )
        for result in response.results
    ]


def _coco_entry(found: DetectedObject, image_id: int) -> dict[str, Any]:
    box = found.box
    entry: dict[str, Any] = {
        "image_id": image_id,
        "category_id": found.category_id,
        "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
        "score": found.score,
    }
    if found.mask is not None:
        entry["segmentation"] = found.mask.to_coco()
    return entry


def models(response: Any) -> list[Model]:
    """The models of a ListModelsResponse."""
    return [
        Model(
            name=model.name,
            version=model.version,
            task=_task_name(model.task),
            variant=model.variant,
            classes=tuple(info.name for info in model.classes),
            limits=Limits(model.limits.image_pixels, model.limits.images_per_request, model.limits.message_bytes),
            precision=model.precision,
            device=model.device,
            weights_sha256=model.weights_sha256,
            ready=model.ready,
        )
        for model in response.models
    ]


def _task_name(number: int) -> str:
    value = messages.Task.get(number)  # a newer server may know more tasks
    return value.name[len("TASK_") :].lower() if value else str(number)
