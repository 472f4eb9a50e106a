"""Labelled pictures, as they lie in folders and COCO files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


class DataSetError(ValueError):
    """What is wrong with a data set, and what it should be."""


@dataclass(frozen=True)
class LabelledPicture:
    file: Path
    label: int  # index of its class


@dataclass(frozen=True)
class CocoDataSet:
    """Objects as pycocotools' COCO.dataset holds them; `files[i]` is the picture of `truth["images"][i]`."""

    truth: dict[str, Any]
    files: list[Path]

    @property
    def has_masks(self) -> bool:
        notes = self.truth["annotations"]
        return bool(notes) and all(note.get("segmentation") for note in notes)


def class_folders(folder: Path, names: Sequence[str]) -> list[LabelledPicture]:
    """Pictures in one folder a class. The folders are named as the classes; or there are as many as classes and they stand
    for them in alphabetical order, which is torchvision's convention for ImageNet's folders of WordNet numbers."""
    folders = sorted(path for path in _existing(folder).iterdir() if path.is_dir())
    if {path.name for path in folders} <= set(names):
        labels = {path: names.index(path.name) for path in folders}
    elif len(folders) == len(names) and not {path.name for path in folders} & set(names):
        labels = {path: index for index, path in enumerate(folders)}
    else:
        unknown = [path.name for path in folders if path.name not in names]
        raise DataSetError(
            f"{folder}: the model has no class {_some(unknown)}; it knows {_some(names)}. "
            "Name the folders as the classes, or give one folder for each class in their order"
        )
    found = [LabelledPicture(file, labels[path]) for path in folders for file in _pictures(path)]
    if not found:
        raise DataSetError(f"{folder} holds no folders with pictures: it should have one folder for each class")
    return found


def coco_file(file: Path, images: Path | None = None) -> CocoDataSet:
    """A COCO file of instances, whose pictures lie in `images`, or else beside it."""
    try:
        truth = json.loads(file.read_text(encoding="utf-8"))
        notes, pictures, categories = truth["annotations"], truth["images"], truth["categories"]
        known, classes = {picture["id"] for picture in pictures}, {category["id"] for category in categories}
        for number, note in enumerate(notes, 1):
            if note["image_id"] not in known or note["category_id"] not in classes:
                raise DataSetError(f"{file}: annotation {note.get('id', number)} names an image or category that is not there")
            x, y, width, height = note["bbox"]
            note.setdefault("id", number)
            note.setdefault("iscrowd", 0)
            note.setdefault("area", width * height)
        files = [(images or file.parent) / picture["file_name"] for picture in pictures]
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataSetError(f"{file} is not a COCO file of instances ({type(error).__name__}: {error})") from error
    if not files:
        raise DataSetError(f"{file} names no images")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataSetError(
            f"{len(missing)} of the images in {file} are missing, {missing[0]} first: --images names the folder they are in"
        )
    return CocoDataSet(truth, files)


def instance_maps(folder: Path, class_name: str) -> CocoDataSet:
    """Pictures X.jpg with maps X.png, whose value is 0 in the background and n in the n-th object, all of one class."""
    import numpy as np
    from pycocotools import mask as coco_mask

    images, notes, files = [], [], []
    for number, (file, mapped) in enumerate(_with_maps(folder), 1):
        values = _map(mapped)
        images.append({"id": number, "file_name": file.name, "height": values.shape[0], "width": values.shape[1]})
        files.append(file)
        for value in np.unique(values[values > 0]):
            runs = coco_mask.encode(np.asfortranarray((values == value).astype(np.uint8)))
            note = {"bbox": coco_mask.toBbox(runs).tolist(), "area": int(coco_mask.area(runs)), "segmentation": runs}
            notes.append({**note, "id": len(notes) + 1, "image_id": number, "category_id": 1, "iscrowd": 0})
    return CocoDataSet({"images": images, "annotations": notes, "categories": [{"id": 1, "name": class_name}]}, files)


@dataclass(frozen=True)
class MappedPicture:
    file: Path
    map: Path

    def labels(self) -> Any:
        """Class of every pixel, integers [height, width]."""
        return _map(self.map)


def label_maps(folder: Path) -> list[MappedPicture]:
    """Pictures X.jpg with maps X.png, whose values are indices of classes."""
    return [MappedPicture(file, mapped) for file, mapped in _with_maps(folder)]


def _map(file: Path) -> Any:
    import numpy as np
    import PIL.Image

    with PIL.Image.open(file) as opened:
        values = np.asarray(opened)
    if values.ndim != 2:
        raise DataSetError(f"{file} has colours: a map holds one number for each pixel (a grey or palette PNG)")
    return values.astype(np.int64)


def _with_maps(folder: Path) -> list[tuple[Path, Path]]:
    files = [file for file in _pictures(_existing(folder)) if file.suffix.lower() != ".png"]
    if not files:
        raise DataSetError(f"{folder} holds no pictures X.jpg with maps X.png")
    missing = [file for file in files if not file.with_suffix(".png").is_file()]
    if missing:
        raise DataSetError(f"{missing[0]} has no map {missing[0].with_suffix('.png').name} beside it")
    return [(file, file.with_suffix(".png")) for file in files]


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataSetError(f"{folder} is not a folder")
    return folder


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
