"""Tiny BURST, VSPW and Ref-VPS, in their layouts; the true masks are known without the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from tests.trainer.miniatures import HEIGHT, WIDTH, moving_squares, save_frames, save_ids, write_json


def write_burst(root: Path) -> dict[str, np.ndarray]:
    """BURST: a sequence in val, another in test, nine frames each, annotated at every fourth.

    In val ("YFCC100M/v_1") the tracks 1 and 3 are of the class cat, track 2 of the class traffic_light; in test
    ("HACS/v_2") track 1 is a cat. Track 2 is not there in the first annotated frame.

    Returns:
        the true track numbers of both, uint8 [T,H,W], by "<dataset>/<sequence>".
    """
    truth = {}
    categories = [{"id": 7, "name": "cat"}, {"id": 40, "name": "traffic_light"}, {"id": 99, "name": "unused"}]
    for seed, (split, dataset, name, tracks) in enumerate(
        (("val", "YFCC100M", "v_1", {"1": 7, "2": 40, "3": 7}), ("test", "HACS", "v_2", {"1": 7}))
    ):
        video, ids = moving_squares(50 + seed, 9, len(tracks))
        ids[0][ids[0] == 2] = 0
        names = [f"frame{t + 1:04d}" for t in range(9)]
        save_frames(root / "frames" / split / dataset / name, video, names)
        annotated = [0, 4, 8]
        segmentations = [
            {track: {"rle": _rle(ids[t] == int(track))} for track in tracks if (ids[t] == int(track)).any()}
            for t in annotated
        ]
        sequence = {
            "width": WIDTH,
            "height": HEIGHT,
            "id": seed,
            "seq_name": name,
            "dataset": dataset,
            "fps": 30,
            "all_image_paths": [f"{each}.jpg" for each in names],
            "annotated_image_paths": [f"{names[t]}.jpg" for t in annotated],
            "neg_category_ids": [],
            "not_exhaustive_category_ids": [],
            "track_category_ids": tracks,
            "segmentations": segmentations,
        }
        content = {"sequences": [sequence], "categories": categories, "split": split}
        write_json(root / "annotations" / split / "all_classes.json", content)
        truth[f"{dataset}/{name}"] = ids
    return truth


def _rle(mask: np.ndarray) -> str:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def write_vspw(root: Path) -> dict[str, np.ndarray]:
    """VSPW: two videos of nine frames, listed in val.txt out of order.

    Where a video has no object its pixels are of no class: 0 in its upper half, 255 in its lower one. Object 1 is grass
    (class 15) in both, object 2 of "222_b" sky (28), object 2 of "111_a" a door (2, which is no stuff).

    Returns:
        the true object numbers of both, uint8 [T,H,W].
    """
    truth = {}
    for seed, (name, classes) in enumerate((("222_b", (15, 28)), ("111_a", (15, 2)))):
        video, ids = moving_squares(60 + seed, 9, 2)
        stored = np.zeros_like(ids)
        stored[:, HEIGHT // 2 :] = 255
        for number, class_ in enumerate(classes, 1):
            stored[ids == number] = class_ + 1
        order = [4, 0, 8, 2, 6, 1, 7, 3, 5]  # files made in this order are listed unsorted on some file systems
        names = [f"{t:08d}" for t in order]
        save_frames(root / "data" / name / "origin", video[order], names)
        (root / "data" / name / "mask").mkdir()
        for t in order[::-1]:
            Image.fromarray(stored[t]).save(root / "data" / name / "mask" / f"{t:08d}.png")
        truth[name] = ids
    (root / "val.txt").write_text("222_b\n111_a\n", encoding="utf-8")
    return truth


def write_ref_vps(root: Path) -> dict[str, np.ndarray]:
    """Ref-VPS: two clips of nine frames; of the second only the first three have masks.

    Returns:
        the true masks, uint8 [T,H,W].
    """
    truth = {}
    for seed, name in enumerate(("smoke_1", "waves_2")):
        video, ids = moving_squares(70 + seed, 9, 1)
        names = [f"{t:05d}" for t in range(9)]
        save_frames(root / "frames" / name, video, names)
        kept = 9 if seed == 0 else 3
        save_ids(root / "masks" / name, ids[:kept], names[:kept])
        truth[name] = ids
    write_json(root / "expressions.json", {"smoke_1": "the smoke rising", "waves_2": "the breaking waves"})
    return truth
