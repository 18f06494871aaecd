"""Datasets of a few tiny videos and images, in the layouts they are published in.

In all of them a thing is a square of one colour that moves over noise: its true mask is known without the files.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

HEIGHT, WIDTH = 36, 48
COLOURS = ((220, 30, 30), (30, 60, 220), (30, 200, 60))
"""Of the objects 1, 2, 3; RGB."""

_PALETTE = [value for colour in ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)) for value in colour]


def moving_squares(seed: int, frames: int, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """A video: uint8 [T,H,W,3], and the number of the object in each pixel, uint8 [T,H,W], 0 for none."""
    rng = np.random.default_rng(seed)
    video = rng.integers(90, 150, (1, HEIGHT, WIDTH, 3)).repeat(frames, axis=0).astype(np.uint8)
    ids = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for number in range(1, objects + 1):
        top, left = int(rng.integers(2, 6)) + 10 * (number - 1), int(rng.integers(2, 6))
        for t in range(frames):
            ids[t, top : top + 9, left + 3 * t % 30 : left + 3 * t % 30 + 9] = number
    for number in range(1, objects + 1):
        video[ids == number] = COLOURS[number - 1]
    return video, ids


def save_frames(folder: Path, video: np.ndarray, names: list[str]) -> None:
    """Frames as JPEG."""
    folder.mkdir(parents=True)
    for frame, name in zip(video, names):
        Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95, subsampling=0)


def save_ids(folder: Path, ids: np.ndarray, names: list[str]) -> None:
    """Object numbers as PNG with a palette."""
    folder.mkdir(parents=True)
    for each, name in zip(ids, names):
        image = Image.fromarray(each)
        image.putpalette(_PALETTE)
        image.save(folder / f"{name}.png")


def write_json(path: Path, value: object) -> None:
    """JSON, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_ref_ytvos(root: Path, split: str = "train") -> dict[str, np.ndarray]:
    """Refer-YouTube-VOS: every fifth frame, names 00000, 00005, ...

    Args:
        root: of the dataset; other splits may lie there already.
        split: "train" (videos of 6 and 3 frames, with annotations), or "valid" (three videos without, one of which the
            test split claims).

    Returns:
        the true object numbers of every video, uint8 [T,H,W].
    """
    lengths = {"aa1": 6, "bb2": 3} if split == "train" else {"cc3": 9, "dd4": 10, "ee5": 9}
    truth, spoken, meta = {}, {}, {}
    for seed, (name, length) in enumerate(lengths.items()):
        names = [f"{5 * t:05d}" for t in range(length)]
        video, ids = moving_squares(seed, length, 2)
        save_frames(root / split / "JPEGImages" / name, video, names)
        sentences = {"0": {"exp": "The  Red square"}, "1": {"exp": "a blue square moving right"}}
        if split == "train":
            save_ids(root / split / "Annotations" / name, ids, names)
            for number, sentence in enumerate(sentences.values(), 1):
                sentence["obj_id"] = str(number)
            meta[name] = {"objects": {n: {"category": "others", "frames": names} for n in ("1", "2")}}
        spoken[name] = {"expressions": sentences, "frames": names}
        truth[name] = ids
    write_json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": spoken})
    if split == "train":
        write_json(root / "train" / "meta.json", {"videos": meta})
    else:
        write_json(root / "meta_expressions" / "test" / "meta_expressions.json", {"videos": {"dd4": spoken["dd4"]}})
    return truth


def write_ref_davis17(root: Path) -> dict[str, np.ndarray]:
    """Ref-DAVIS17 as ReferFormer prepares it, beside the DAVIS tree it was made from.

    Two videos of two objects, "swan" in train and "camel" in val, nine frames each; four sentences an object.

    Returns:
        the true object numbers of both, uint8 [T,H,W].
    """
    truth = {}
    for seed, (name, split, davis_split) in enumerate((("swan", "train", "train"), ("camel", "valid", "val"))):
        names = [f"{t:05d}" for t in range(9)]
        video, ids = moving_squares(10 + seed, 9, 2)
        for folder in (root / split / "JPEGImages", root / "DAVIS" / "JPEGImages" / "480p"):
            save_frames(folder / name, video, names)
        for folder in (root / split / "Annotations", root / "DAVIS" / "Annotations_unsupervised" / "480p"):
            save_ids(folder / name, ids, names)
        sentences = {
            str(4 * (number - 1) + annotator): {"exp": f"{colour} square {annotator}", "obj_id": str(number)}
            for number, colour in ((1, "red"), (2, "blue"))
            for annotator in range(4)
        }
        videos = {name: {"expressions": sentences, "frames": names}}
        write_json(root / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
        objects = {number: {"category": "square"} for number in ("1", "2")}
        write_json(root / split / "meta.json", {"videos": {name: {"objects": objects}}})
        listing = root / "DAVIS" / "ImageSets" / "2017" / f"{davis_split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(f"{name}\n", encoding="utf-8")
        truth[name] = ids
    return truth


def write_mevis(root: Path) -> dict[str, np.ndarray]:
    """MeViS: train, valid_u, and valid without masks; a video each.

    Sentence 0 names object 1, sentence 1 objects 1 and 2, sentence 2 (MeViS v2) nothing. In frame 0 object 2 has no
    annotation.

    Returns:
        the true object numbers of the videos "tt1" (train), "uu2" (valid_u), "vv3" (valid), uint8 [T,H,W].
    """
    truth = {}
    for seed, (name, split) in enumerate((("tt1", "train"), ("uu2", "valid_u"), ("vv3", "valid"))):
        names = [f"{t:05d}" for t in range(9)]
        video, ids = moving_squares(20 + seed, 9, 2)
        ids[0][ids[0] == 2] = 0
        save_frames(root / split / "JPEGImages" / name, video, names)
        sentences = {
            "0": {"exp": "Red square going right", "obj_id": [0], "anno_id": [70]},
            "1": {"exp": "both squares moving", "obj_id": [0, 1], "anno_id": [70, 71]},
            "2": {"exp": "the square flying away", "obj_id": [], "anno_id": []},
        }
        if split == "valid":
            sentences = {number: {"exp": sentence["exp"]} for number, sentence in sentences.items()}
        spoken = {name: {"expressions": sentences, "vid_id": seed, "frames": names}}
        write_json(root / split / "meta_expressions.json", {"videos": spoken})
        if split != "valid":
            masks = {str(69 + number): [_runs(each == number) for each in ids] for number in (1, 2)}
            write_json(root / split / "mask_dict.json", masks)
        truth[name] = ids
    return truth


def _runs(mask: np.ndarray) -> dict | None:
    if not mask.any():
        return None
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode()}


def write_refcoco(root: Path) -> dict[str, np.ndarray]:
    """RefCOCO, RefCOCO+ and RefCOCOg, train and val: two images, a sentence of each.

    The first image's mask is a polygon, the second's uncompressed run lengths.

    Returns:
        the true masks of the images, bool [H,W] by file name.
    """
    truth, segmentations = {}, {}
    (root / "train2014").mkdir(parents=True)
    for number in range(2):
        name = f"COCO_train2014_{number + 9:012d}.jpg"
        video, ids = moving_squares(30 + number, 1, 1)
        Image.fromarray(video[0]).save(root / "train2014" / name, quality=95, subsampling=0)
        truth[name] = mask = ids[0] == 1
        if number == 0:
            rows, columns = np.nonzero(mask)
            top, bottom, left, right = (int(v) for v in (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))
            segmentations[name] = [[left, top, right, top, right, bottom, left, bottom]]
        else:
            flat = mask.flatten(order="F").astype(int)
            changes = np.flatnonzero(np.diff(flat)) + 1
            counts = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
            segmentations[name] = {"size": [HEIGHT, WIDTH], "counts": counts}  # the first run is of zeros, as here
    for dataset in ("refcoco", "refcoco+", "refcocog"):
        for split in ("train", "val"):
            _write_refcoco_split(root, dataset, split, segmentations)
    return truth


def _write_refcoco_split(root: Path, dataset: str, split: str, segmentations: dict) -> None:
    images, annotations = [], []
    for number, (name, segmentation) in enumerate(segmentations.items(), 1):
        images.append(
            {
                "file_name": name,
                "height": HEIGHT,
                "width": WIDTH,
                "original_id": number + 8,
                "id": number,
                "caption": f"red square {number} of {dataset}",
                "dataset_name": dataset,
            }
        )
        annotations.append(
            {
                "segmentation": segmentation,
                "area": 81.0,
                "iscrowd": 0,
                "bbox": [0.0, 0.0, 9.0, 9.0],
                "image_id": number,
                "category_id": 1,
                "id": number,
                "original_id": 500 + number,
            }
        )
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": []}
    write_json(root / dataset / f"instances_{dataset}_{split}.json", content)


def write_folder(root: Path) -> dict[str, np.ndarray]:
    """A user's footage: the shot "sh010" of six numbered frames.

    The mask "red" has all frames, "blue" only those numbered 1002 and 1004; one sentence names nothing.

    Returns:
        the true masks, bool [T,H,W] by mask name.
    """
    video, ids = moving_squares(40, 6, 2)
    shot = root / "sh010"
    for folder in ("frames", "masks/red", "masks/blue"):
        (shot / folder).mkdir(parents=True)
    truth = {"red": ids == 1, "blue": (ids == 2)[[1, 3]]}
    for number, (frame, red) in enumerate(zip(video, truth["red"]), 1001):
        Image.fromarray(frame).save(shot / "frames" / f"plate.{number}.png")
        Image.fromarray(red.astype(np.uint8) * 255).save(shot / "masks" / "red" / f"matte_{number}.png")
    for number, blue in zip((1002, 1004), truth["blue"]):
        Image.fromarray(blue.astype(np.uint16) * 65535).save(shot / "masks" / "blue" / f"{number}.png")
    lines = ("# sentences", "red: the red square", "red: Red square moving right", "", "blue: the blue one: it moves")
    (shot / "prompts.txt").write_text("\n".join((*lines, "-: the green star", "")), encoding="utf-8")
    return truth
