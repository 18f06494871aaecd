"""RefCOCO, RefCOCO+ and RefCOCOg, as ReferFormer prepares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .broken import OnBroken, refuse
from .coco import decode_mask
from .files import check_place, field, read_frame, read_json
from .packed import PackedRecords
from .sample import BrokenSample, Measured, Sample

NAMES = ("refcoco", "refcoco+", "refcocog")


class RefCoco:
    """Sentences about still images; a clip repeats its image.

    `train2014/<file_name>`; `<name>/instances_<name>_<split>.json` in COCO's form, in which every sentence is an image
    entry of its own (file_name, height, width, id, original_id, caption, dataset_name) with one annotation (image_id,
    segmentation: polygons or run lengths; iscrowd). Annotations of crowds are left out, as the authors leave them out;
    where there are several others, the mask is their union. Captions are taken as they are.

    Args:
        root: the folder with train2014 and the annotations.
        name: refcoco, refcoco+ or refcocog.
        split: train, val, testA, ...
        on_broken: what is done about entries of the JSON file that are not of that form.

    Raises:
        ValueError: another name.
        FileNotFoundError: there are no such annotations.
        BrokenSample: the JSON file cannot be read.
    """

    def __init__(self, root: Path, name: str, split: str = "train", on_broken: OnBroken = refuse) -> None:
        if name not in NAMES:
            raise ValueError(f"There is no RefCOCO named {name!r}; set the source's name to one of {', '.join(NAMES)}.")
        self.name = f"{name} ({split})"
        self._images = root / "train2014"
        self._listing = root / name / f"instances_{name}_{split}.json"
        _check_converted(self._listing, root / name)
        records = _records(self._listing, on_broken)
        self._captions = PackedRecords(record.pop("caption") for record in records)
        self._records = PackedRecords(records)

    def __len__(self) -> int:
        return len(self._records)

    def text(self, index: int) -> str:
        return self._captions[index]

    def files(self, index: int) -> list[Path]:
        return [self._listing, self._images / self._records[index]["file_name"]]

    def is_fixed(self, frames: int) -> bool:
        return True

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        picture, mask, caption = self._still(index)
        return Sample(np.repeat(picture[None], frames, axis=0), np.repeat(mask[None], frames, axis=0), caption)

    def check(self, index: int) -> Measured:
        _, mask, _ = self._still(index)
        return Measured(self._records[index]["file_name"], 1, mask.shape, (float(mask.mean()),))

    def _still(self, index: int) -> tuple[np.ndarray, np.ndarray, str]:
        record = self._records[index]
        caption, size = self._captions[index], (record["height"], record["width"])
        path = self._images / record["file_name"]
        picture = read_frame(path)
        if picture.shape[:2] != size:
            found, listed = (f"{width}x{height}" for height, width in (picture.shape[:2], size))
            raise BrokenSample(path, f"is {found} pixels, but {self._listing.name} says {listed}.")
        where = f"the sentence {record['id']} ({caption!r}, {record['file_name']})"
        mask = np.logical_or.reduce([decode_mask(self._listing, each, size, where) for each in record["segmentations"]])
        if not mask.any():
            raise BrokenSample(self._listing, f"the mask of {where} is empty.")
        return picture, mask, caption


def _check_converted(listing: Path, folder: Path) -> None:
    """Raise FileNotFoundError where sentences lie as RefCOCO publishes them, and not as they are read here."""
    published = min(folder.glob("refs(*).p"), default=None)
    if published is not None and not listing.is_file():
        raise FileNotFoundError(
            f"{listing} does not exist, and {published.name} beside it is RefCOCO as published, a pickle, which is not "
            "read: ReferFormer's tools/data/convert_refexp_to_coco.py makes the one of the other."
        )


def _records(listing: Path, on_broken: OnBroken) -> list[dict[str, Any]]:
    content = read_json(listing)
    records = []
    segmentations: dict[str, list[Any]] = {}
    for annotation in field(listing, content, "annotations", list, "the file"):
        try:
            where = f"the annotation {annotation.get('id') if isinstance(annotation, dict) else annotation}"
            image = field(listing, annotation, "image_id", (int, str), where)
            if annotation.get("iscrowd"):
                continue
            segmentation = field(listing, annotation, "segmentation", (list, dict), where)
            segmentations.setdefault(str(image), []).append(segmentation)
        except BrokenSample as broken:
            on_broken(broken)
    for image in field(listing, content, "images", list, "the file"):
        try:
            number = field(listing, image, "id", (int, str), "an image entry")
            where = f"the image entry {number}"
            record = {"id": number, "segmentations": segmentations.get(str(number), [])}
            record["caption"] = field(listing, image, "caption", str, where)
            record["file_name"] = check_place(listing, field(listing, image, "file_name", str, where), where)
            record["height"] = field(listing, image, "height", int, where)
            record["width"] = field(listing, image, "width", int, where)
            if not record["caption"].strip():
                raise BrokenSample(listing, f"{where} has an empty caption.")
            if not record["segmentations"]:
                raise BrokenSample(listing, f"{where} has no annotation, or only one of a crowd.")
            records.append(record)
        except BrokenSample as broken:
            on_broken(broken)
    return records
