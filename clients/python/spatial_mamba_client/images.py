"""Pictures of every kind the package takes, as messages of the protocol."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from spatial_mamba_client import messages

if TYPE_CHECKING:
    import numpy
    import PIL.Image

    # A path or the bytes of a JPEG, PNG, WebP or TIFF file, a PIL image, or a uint8 array [height, width, 3],
    # [height, width, 1] or [height, width].
    ImageInput = Union[str, os.PathLike[str], bytes, bytearray, memoryview, PIL.Image.Image, numpy.ndarray]

ChannelOrder = Literal["rgb", "bgr"]

# Raw pixels above this would not fit the server's default message limit; PNG holds the same pixels in less.
_LARGEST_RAW_BYTES = 24 << 20


def _is_instance(value: Any, module: str, name: str) -> bool:
    """Whether `value` is of an optional package's type; that package is loaded if it is."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def to_message(image: ImageInput, channel_order: ChannelOrder | None = None) -> Any:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return messages.Image(encoded=bytes(image))
    if isinstance(image, (str, os.PathLike)):
        return messages.Image(encoded=Path(image).read_bytes())
    if _is_instance(image, "PIL.Image", "Image"):
        return _from_pil(image)
    if _is_instance(image, "numpy", "ndarray"):
        return _from_array(image, channel_order)
    raise TypeError(f"an image is a path, bytes, a PIL image or a numpy array, not {type(image).__name__}")


def _raw(height: int, width: int, pixel_format: str, pixels: bytes) -> Any:
    message = messages.Image()
    message.raw.height, message.raw.width, message.raw.pixels = height, width, pixels
    message.raw.format = messages.PixelFormat[f"PIXEL_FORMAT_{pixel_format}"].number
    return message


def _from_array(array: Any, channel_order: ChannelOrder | None) -> Any:
    if str(array.dtype) != "uint8":
        raise ValueError(f"an array of pixels must be uint8 (0..255), not {array.dtype}; scale and convert it first")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ValueError(
            f"an array of pixels must be [height, width, 3], [height, width, 1] or [height, width], not {list(array.shape)}"
        )
    pixel_format = "GREY"
    if array.ndim == 3 and array.shape[2] == 3:
        if channel_order not in ("rgb", "bgr"):
            raise ValueError("say channel_order='rgb' or 'bgr' for an array with three channels (OpenCV reads BGR)")
        pixel_format = channel_order.upper()
    return _raw(array.shape[0], array.shape[1], pixel_format, array.tobytes())


def _from_pil(image: Any) -> Any:
    from PIL import ImageOps

    # The server turns files by their EXIF orientation, so the same picture as a PIL image must be turned too.
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("a PIL image of floats has no range that is known; convert it to mode RGB first")
    is_deep = image.mode.startswith("I")
    if not is_deep and image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    if is_deep or image.width * image.height * len(image.getbands()) > _LARGEST_RAW_BYTES:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        return messages.Image(encoded=buffer.getvalue())
    return _raw(image.height, image.width, "GREY" if image.mode == "L" else "RGB", image.tobytes())
