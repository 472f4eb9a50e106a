"""Writes the sample files of this folder and expected.json: for every file what a decoder must say and give.

    python make_images.py        # needs numpy and Pillow

expected.json maps a file to its stored height and width, its EXIF orientation, and the FNV-1a hash of its RGB bytes,
as stored and upright. Where a format is lossless the hash is that of the pixels that were written, not of what a
library reads back.
"""
from __future__ import annotations

import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

FOLDER = pathlib.Path(__file__).parent
HEIGHT, WIDTH = 21, 34
expected: dict[str, dict] = {}


def fnv1a64(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"


def picture() -> np.ndarray:
    """Smooth colours with a little noise and one hard edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(1).integers(-9, 10, (HEIGHT, WIDTH, 3))
    rgb = np.stack([x * 7, y * 11, 255 - x * 3 - y * 4], -1) + noise
    rgb[5:9, 20:30] = [250, 10, 30]
    return rgb.clip(0, 255).astype(np.uint8)


RGB = picture()
GREY = RGB[..., 1]
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))


def upright(rgb: np.ndarray, orientation: int) -> np.ndarray:
    return {1: rgb, 2: rgb[:, ::-1], 3: rgb[::-1, ::-1], 4: rgb[::-1], 5: rgb.transpose(1, 0, 2),
            6: np.rot90(rgb, -1), 7: rgb[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(rgb)}[orientation]


def expect(name: str, rgb: np.ndarray, orientation: int = 1) -> None:
    rgb = np.ascontiguousarray(np.stack([rgb] * 3, -1) if rgb.ndim == 2 else rgb)
    assert rgb.dtype == np.uint8 and rgb.shape[2] == 3
    expected[name] = {"height": rgb.shape[0], "width": rgb.shape[1], "orientation": orientation,
                      "stored": fnv1a64(rgb.tobytes()), "upright": fnv1a64(upright(rgb, orientation).tobytes())}


def read_back(name: str) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / name).convert("RGB"))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def jpegs() -> None:
    image = Image.fromarray(RGB)
    image.save(FOLDER / "baseline_420.jpg", quality=80, subsampling="4:2:0")
    image.save(FOLDER / "baseline_422.jpg", quality=80, subsampling="4:2:2")
    image.save(FOLDER / "progressive_444.jpg", quality=85, subsampling="4:4:4", progressive=True)
    image.save(FOLDER / "restart_markers.jpg", quality=80, restart_marker_rows=1)
    Image.fromarray(GREY).save(FOLDER / "grey.jpg", quality=80)
    # Pillow inverts as it writes and marks the file as Adobe's.
    image.convert("CMYK").save(FOLDER / "cmyk.jpg", quality=90)
    for name in ("baseline_420", "baseline_422", "progressive_444", "restart_markers", "grey", "cmyk"):
        expect(f"{name}.jpg", read_back(f"{name}.jpg"))
    for orientation in range(1, 9):
        name = f"orientation_{orientation}.jpg"
        image.save(FOLDER / name, quality=80, exif=exif(orientation))
        expect(name, read_back(name), orientation)
        shown = np.asarray(ImageOps.exif_transpose(Image.open(FOLDER / name)))
        assert np.array_equal(shown, upright(read_back(name), orientation))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name: str, pixels: bytes, colour: int, bits: int = 8, interlace: int = 0, extra: bytes = b"",
        size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """`pixels`: filtered rows, not yet compressed."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, interlace)
    (FOLDER / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
                                + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b""))


def rows(pixels: np.ndarray) -> bytes:
    """Every row behind a filter byte that says "none"."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def adam7(rgb: np.ndarray) -> bytes:
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(rows(np.ascontiguousarray(rgb[y::dy, x::dx])) for y, x, dy, dx in passes)


def pngs() -> None:
    wide = RGB.astype(np.uint16) << 8 | 0x00FF  # rounding instead of cutting would raise every byte
    Image.fromarray(RGB).save(FOLDER / "rgb.png")
    Image.fromarray(np.dstack([RGB, ALPHA])).save(FOLDER / "rgba.png")
    Image.fromarray(np.dstack([GREY, ALPHA])).save(FOLDER / "grey_alpha.png")
    Image.fromarray(GREY).save(FOLDER / "grey.png")
    png("rgb16.png", rows(wide.astype(">u2")), 2, 16)
    png("grey16_transparent.png", rows(wide[..., 1].astype(">u2")), 0, 16,
        extra=chunk(b"tRNS", struct.pack(">H", int(wide[0, 0, 1]))))
    png("interlaced.png", adam7(RGB), 2, interlace=1)
    png("rgb_transparent.png", rows(RGB), 2, extra=chunk(b"tRNS", struct.pack(">HHH", *map(int, RGB[0, 0]))))
    for name in ("rgb", "rgba", "rgb16", "interlaced", "rgb_transparent"):
        expect(f"{name}.png", RGB)
    for name in ("grey", "grey_alpha", "grey16_transparent"):
        expect(f"{name}.png", GREY)

    bits = (GREY > 100).astype(np.uint8)
    png("grey1.png", rows(np.packbits(bits, axis=1)), 0, 1)
    expect("grey1.png", bits * 255)
    table = np.random.default_rng(2).integers(0, 256, (16, 3), np.uint8)
    index = GREY >> 4
    packed = index[:, 0::2] << 4 | index[:, 1::2]
    png("palette4_transparent.png", rows(packed), 3, 4,
        extra=chunk(b"PLTE", table.tobytes()) + chunk(b"tRNS", bytes(range(0, 160, 10))))
    expect("palette4_transparent.png", table[index])
    Image.fromarray(RGB).save(FOLDER / "orientation_6.png", exif=exif(6))
    expect("orientation_6.png", RGB, 6)


def webps() -> None:
    Image.fromarray(RGB).save(FOLDER / "lossy.webp", quality=80)
    Image.fromarray(np.dstack([RGB, ALPHA])).save(FOLDER / "lossy_alpha.webp", quality=80)
    Image.fromarray(RGB).save(FOLDER / "lossless.webp", lossless=True)
    Image.fromarray(np.dstack([RGB, ALPHA])).save(FOLDER / "lossless_alpha.webp", lossless=True, exact=True)
    Image.fromarray(RGB).save(FOLDER / "orientation_8.webp", lossless=True, exif=exif(8))
    expect("lossy.webp", read_back("lossy.webp"))
    expect("lossy_alpha.webp", np.asarray(Image.open(FOLDER / "lossy_alpha.webp"))[..., :3])
    expect("lossless.webp", RGB)
    expect("lossless_alpha.webp", RGB)
    expect("orientation_8.webp", RGB, 8)
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    frames[0].save(FOLDER / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)


def tiff(name: str, data: list[bytes], tags: dict[int, tuple[str, list[int]]], order: str = "<") -> None:
    """A TIFF of one page. `data`: strips or tiles; their offsets and sizes go under tags 273/279 or 324/325."""
    tiled = 322 in tags
    offsets, at = [], 8
    for block in data:
        offsets.append(at)
        at += len(block)
    tags = {**tags, 324 if tiled else 273: ("I", offsets), 325 if tiled else 279: ("I", [len(b) for b in data])}
    values_at = at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        kind, numbers = tags[tag]
        packed = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        entry = struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(numbers))
        if len(packed) <= 4:
            entries += entry + packed.ljust(4, b"\0")
        else:
            entries += entry + struct.pack(f"{order}I", values_at + len(values))
            values += packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    (FOLDER / name).write_bytes(head + b"".join(data) + struct.pack(f"{order}H", len(tags)) + entries
                                + b"\0\0\0\0" + values)


def basic(bits: int, samples: int, photometric: int) -> dict[int, tuple[str, list[int]]]:
    return {256: ("I", [WIDTH]), 257: ("I", [HEIGHT]), 258: ("H", [bits] * samples), 259: ("H", [1]),
            262: ("H", [photometric]), 277: ("H", [samples])}


def strips(pixels: np.ndarray, height: int = 8) -> list[bytes]:
    return [pixels[top:top + height].tobytes() for top in range(0, len(pixels), height)]


def tiffs() -> None:
    eight_rows = {278: ("I", [8])}
    wide = RGB.astype(np.uint16) << 8 | 0x00FF
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(RGB).save(FOLDER / f"{compression}.tif", compression=compression)
        expect(f"{compression}.tif", RGB)
    Image.fromarray(GREY > 100).save(FOLDER / "fax4.tif", compression="group4")
    expect("fax4.tif", (GREY > 100).astype(np.uint8) * 255)
    Image.fromarray(RGB).save(FOLDER / "jpeg.tif", compression="jpeg", quality=90)
    expect("jpeg.tif", read_back("jpeg.tif"))

    tiff("strips.tif", strips(RGB), basic(8, 3, 2) | eight_rows)
    tiff("big_endian16.tif", strips(wide.astype(">u2")), basic(16, 3, 2) | eight_rows, ">")
    rgba = np.dstack([RGB, ALPHA])
    tiff("rgba_unassociated.tif", strips(rgba), basic(8, 4, 2) | eight_rows | {338: ("H", [2])})
    planes = [strip for channel in range(3) for strip in strips(np.ascontiguousarray(RGB[..., channel]))]
    tiff("planes.tif", planes, basic(8, 3, 2) | eight_rows | {284: ("H", [2])})
    padded = np.zeros((32, 48, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = RGB
    tiles = [np.ascontiguousarray(padded[y:y + 16, x:x + 16]).tobytes() for y in (0, 16) for x in (0, 16, 32)]
    tiff("tiles.tif", tiles, basic(8, 3, 2) | {322: ("I", [16]), 323: ("I", [16])})
    for name in ("strips", "big_endian16", "rgba_unassociated", "planes", "tiles"):
        expect(f"{name}.tif", RGB)
    tiff("orientation_7.tif", strips(RGB), basic(8, 3, 2) | eight_rows | {274: ("H", [7])})
    expect("orientation_7.tif", RGB, 7)

    tiff("grey16.tif", strips(wide[..., 1].astype("<u2")), basic(16, 1, 1) | eight_rows)
    tiff("white_is_zero.tif", strips(255 - GREY), basic(8, 1, 0) | eight_rows)
    for name in ("grey16", "white_is_zero"):
        expect(f"{name}.tif", GREY)
    table = np.random.default_rng(3).integers(0, 65536, (3, 256))
    tiff("palette.tif", strips(GREY), basic(8, 1, 3) | eight_rows | {320: ("H", table.flatten().tolist())})
    expect("palette.tif", (table >> 8).astype(np.uint8).T[GREY])
    inks = np.dstack([255 - RGB, ALPHA])
    tiff("cmyk.tif", strips(inks), basic(8, 4, 5) | eight_rows)
    expect("cmyk.tif", np.asarray(Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes()).convert("RGB")))
    pages = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    pages[0].save(FOLDER / "two_pages.tif", save_all=True, append_images=pages[1:])
    expect("two_pages.tif", RGB)
    tiff("float.tif", strips(RGB[..., 0].astype("<f4")), basic(32, 1, 1) | eight_rows | {339: ("H", [3])})


def bombs() -> None:
    """Small files that ask for much: refused, or decoded without unpacking what no pixel needs."""
    column = zlib.compress(bytes(1 << 20), 9)  # a tile a million columns wide of a picture of one
    tags = basic(8, 1, 1) | {256: ("I", [1]), 257: ("I", [200]), 259: ("H", [8]), 322: ("I", [1 << 20]),
                             323: ("I", [1])}
    tiff("wide_tiles.tif", [column] + [b""] * 199, tags)
    large = basic(8, 1, 1) | {322: ("I", [1 << 16]), 323: ("I", [1 << 16])}
    tiff("large_tile.tif", [b"\0" * 16], large)
    text = b"Comment\0\0" + zlib.compress(bytes(2 << 20), 9)
    png("texts.png", rows(RGB), 2, extra=chunk(b"zTXt", text))
    expect("texts.png", RGB)


def main() -> None:
    jpegs()
    pngs()
    webps()
    tiffs()
    bombs()
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
