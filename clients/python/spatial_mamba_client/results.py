"""Answers as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from spatial_mamba_client import messages

if TYPE_CHECKING:
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

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    batch_size: int  # images that shared the forward pass
    batch_closed_by: str  # full | idle | deadline | drain
    device: str


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
        decode=_seconds(message.decode),
        preprocess=_seconds(message.preprocess),
        queue=_seconds(message.queue),
        inference=_seconds(message.inference),
        postprocess=_seconds(message.postprocess),
        batch_size=message.batch_size,
        batch_closed_by=message.batch_closed_by,
        device=message.device,
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
