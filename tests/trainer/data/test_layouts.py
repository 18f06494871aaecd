"""Every published layout is read as what it is: the right frames, the right masks, the right words."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.miniatures import (
    COLOURS,
    HEIGHT,
    WIDTH,
    write_folder,
    write_json,
    write_mevis,
    write_ref_davis17,
    write_ref_ytvos,
    write_refcoco,
)
from trainer.data.check import check_dataset
from trainer.data.folder import Folder
from trainer.data.mevis import Mevis
from trainer.data.ref_davis17 import RefDavis17
from trainer.data.ref_ytvos import RefYtvos
from trainer.data.refcoco import RefCoco
from trainer.data.sample import BrokenSample, Sample, Source
from trainer.data.synth import Synth
from trainer.data.video import sample_frames
from trainer.settings import SourceSettings
from trainer.synth.backgrounds import procedural
from trainer.synth.write import read_split, write_split


def read(source: Source, text: str, frames: int) -> Sample:
    (index,) = [i for i in range(len(source)) if source.text(i) == text]
    sample = source.read(index, frames, np.random.default_rng(0))
    assert sample.text == text
    assert sample.frames.dtype == np.uint8 and sample.masks.dtype == bool
    assert sample.frames.shape == (*sample.masks.shape, 3) and len(sample.frames) == frames
    return sample


def assert_masks_lie_on(sample: Sample, *numbers: int) -> None:
    """Under the mask, and only there, the frames show the colours of the objects."""
    colours = np.array([COLOURS[number - 1] for number in numbers])
    far = np.abs(sample.frames[..., None, :].astype(int) - colours).max(axis=-1).min(axis=-1)
    inside, outside = far[sample.masks], far[~sample.masks]
    assert np.mean(inside < 40) > 0.95 and np.mean(outside < 40) < 0.02  # JPEG blurs the edges


@pytest.mark.parametrize(
    ("count", "frames", "expected"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (4, 6, [0, 0, 1, 1, 2, 3]),  # all, and the first two again
        (4, 8, [0, 0, 1, 1, 2, 2, 3, 3]),
        (3, 8, [0, 0, 0, 1, 1, 1, 2, 2]),  # twice all, and the first two again
        (1, 3, [0, 0, 0]),
    ],
)
def test_short_videos_are_repeated_as_the_authors_do(count: int, frames: int, expected: list[int]) -> None:
    assert sample_frames(count, frames, np.random.default_rng(1)).tolist() == expected


def test_frames_of_longer_videos_are_drawn_evenly_from_all_of_it_and_sorted() -> None:
    rng = np.random.default_rng(2)
    drawn = [sample_frames(10, 3, rng).tolist() for _ in range(4000)]
    assert all(len(set(each)) == 3 and each == sorted(each) for each in drawn)
    share = np.bincount(np.ravel(drawn), minlength=10) / 4000
    np.testing.assert_allclose(share, 0.3, atol=0.04)  # more than five deviations
    spans = np.mean([each[2] - each[0] for each in drawn])
    assert spans == pytest.approx(2 * 11 / 4, abs=0.1)  # of three of ten numbers: (n + 1) (k - 1) / (k + 1)


def test_refer_youtube_vos(tmp_path: Path) -> None:
    truth = write_ref_ytvos(tmp_path)
    source = RefYtvos(tmp_path)
    assert [source.text(i) for i in range(4)] == ["The  Red square", "a blue square moving right"] * 2
    for index, (video, number) in enumerate((("aa1", 1), ("aa1", 2), ("bb2", 1), ("bb2", 2))):
        count = len(truth[video])
        sample = source.read(index, count, np.random.default_rng(0))
        np.testing.assert_array_equal(sample.masks, truth[video] == number)
        assert_masks_lie_on(sample, number)


def test_masks_stay_with_their_frames_when_few_are_drawn(tmp_path: Path) -> None:
    truth = write_ref_ytvos(tmp_path)["aa1"] == 1
    for seed in range(6):
        sample = RefYtvos(tmp_path).read(0, 3, np.random.default_rng(seed))
        assert_masks_lie_on(sample, 1)
        chosen = sample_frames(6, 3, np.random.default_rng(seed))
        np.testing.assert_array_equal(sample.masks, truth[chosen])


def test_ref_davis17_train_and_valid(tmp_path: Path) -> None:
    truth = write_ref_davis17(tmp_path)
    for split, video in (("train", "swan"), ("valid", "camel")):
        source = RefDavis17(tmp_path, split)
        assert len(source) == 8
        sample = read(source, "blue square 3", 9)
        np.testing.assert_array_equal(sample.masks, truth[video] == 2)
        assert_masks_lie_on(sample, 2)


def test_mevis_joins_the_objects_a_sentence_names(tmp_path: Path) -> None:
    truth = write_mevis(tmp_path)
    for split, video in (("train", "tt1"), ("valid_u", "uu2")):
        source = Mevis(tmp_path, split)
        np.testing.assert_array_equal(read(source, "Red square going right", 9).masks, truth[video] == 1)
        both = read(source, "both squares moving", 9)
        np.testing.assert_array_equal(both.masks, truth[video] > 0)
        assert_masks_lie_on(both, 1, 2) if split == "valid_u" else None
        assert not read(source, "the square flying away", 9).masks.any()


def test_mevis_without_masks_is_no_source(tmp_path: Path) -> None:
    write_mevis(tmp_path)
    with pytest.raises(FileNotFoundError, match="mask_dict.json does not exist"):
        Mevis(tmp_path, "valid")


@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog"])
def test_refcoco_polygons_and_run_lengths(tmp_path: Path, name: str) -> None:
    truth = list(write_refcoco(tmp_path).values())
    source = RefCoco(tmp_path, name)
    assert len(source) == 2 and source.is_fixed(17)
    for number in (1, 2):
        sample = read(source, f"red square {number} of {name}", 3)
        assert (sample.frames == sample.frames[0]).all()
        np.testing.assert_array_equal(sample.masks, np.stack([truth[number - 1]] * 3))
        assert_masks_lie_on(sample, 1)


def test_grey_photographs_are_read_as_rgb(tmp_path: Path) -> None:
    name = next(iter(write_refcoco(tmp_path)))
    with Image.open(tmp_path / "train2014" / name) as image:
        grey = image.convert("L")
    grey.save(tmp_path / "train2014" / name)
    assert RefCoco(tmp_path, "refcoco").read(0, 1, np.random.default_rng(0)).frames.shape[-1] == 3


def test_own_footage(tmp_path: Path) -> None:
    truth = write_folder(tmp_path)
    source = Folder(tmp_path)
    assert len(source) == 4
    red = read(source, "Red square moving right", 6)
    np.testing.assert_array_equal(red.masks, truth["red"])
    assert_masks_lie_on(red, 1)
    blue = read(source, "the blue one: it moves", 2)  # of the two frames that have a mask, of 16 bits
    np.testing.assert_array_equal(blue.masks, truth["blue"])
    assert_masks_lie_on(blue, 2)
    assert not read(source, "the green star", 6).masks.any()
    assert any(path.name == "prompts.txt" for path in source.files(0))


@pytest.mark.parametrize("kind", ["alpha, white", "alpha, grey", "0 and 1", "16 bits", "colour, opaque"])
def test_masks_of_own_footage_are_read_where_their_matte_is(tmp_path: Path, kind: str) -> None:
    truth = write_folder(tmp_path)["red"]
    for mask, file in zip(truth, sorted((tmp_path / "sh010/masks/red").iterdir())):
        solid = mask.astype(np.uint8) * 255
        pictures = {
            "alpha, white": np.dstack([solid * 0 + 255] * 3 + [solid]),
            "alpha, grey": np.dstack([solid * 0 + 90, solid]),
            "0 and 1": solid // 255,
            "16 bits": mask.astype(np.uint16) * 65535,
            "colour, opaque": np.dstack([solid] * 3 + [solid * 0 + 255]),
        }
        Image.fromarray(pictures[kind]).save(file)
    for source in (Folder(tmp_path), pickle.loads(pickle.dumps(Folder(tmp_path)))):
        np.testing.assert_array_equal(read(source, "Red square moving right", 6).masks, truth)
        source.check(1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda mask, noise: np.dstack([noise, mask * 255]), "both the colour and the alpha vary"),
        (lambda mask, noise: mask * 2, "hold the values 0, 2 of 0 to 255, which are numbers of objects"),
        (lambda mask, noise: noise, "is a picture in colour and no mask"),
    ],
)
def test_pictures_that_are_no_masks_are_found_by_a_check(
    tmp_path: Path, make: Callable[[np.ndarray, np.ndarray], np.ndarray], said: str
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    truth = write_folder(tmp_path)["red"].astype(np.uint8)
    for mask, file in zip(truth, sorted((tmp_path / "sh010/masks/red").iterdir())):
        Image.fromarray(make(mask, noise)).save(file)
    report = check_dataset(SourceSettings(kind="folder", root=tmp_path))
    assert report.unusable == 2
    assert [said in broken.what for broken in report.broken] == [True]


def test_own_footage_in_linear_exr(tmp_path: Path) -> None:
    """Scene-linear 0.2140 is display 0.5 (IEC 61966-2-1)."""
    import OpenEXR

    shot = tmp_path / "a"
    for folder, value in (("frames", 0.2140), ("masks/all", 1.0)):
        (shot / folder).mkdir(parents=True)
        pixels = np.full((20, 24, 3), value, np.float32)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": pixels}).write(str(shot / folder / "a.0001.exr"))
    (shot / "prompts.txt").write_text("all: everything\n")
    sample = Folder(tmp_path).read(0, 1, np.random.default_rng(0))
    assert (np.abs(sample.frames.astype(int) - 128) <= 1).all() and sample.masks.all()


def test_rendered_shots_with_mattes_and_absent_things(tmp_path: Path) -> None:
    write_split(tmp_path / "s", 4, 3, procedural, frames=5, height=40, width=48, unseen=False)
    source = Synth(tmp_path / "s")
    index = 0
    for entry in read_split(tmp_path / "s"):
        for expression in entry.expressions:
            sample = source.read(index, 5, np.random.default_rng(0))
            number = 255 if expression.target is None else expression.target + 1
            assert sample.text == expression.text
            np.testing.assert_array_equal(sample.masks, entry.ids == number)
            index += 1
    assert index == len(source)
    assert source.is_fixed(5) and source.is_fixed(9) and not source.is_fixed(4)


def test_sources_know_every_file_they_read_and_can_be_sent_to_workers(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path / "y")
    write_mevis(tmp_path / "m")
    write_refcoco(tmp_path / "c")
    write_folder(tmp_path / "f")
    write_split(tmp_path / "s", 1, 3, procedural, frames=3, height=40, width=48, unseen=False)
    sources = [RefYtvos(tmp_path / "y"), Mevis(tmp_path / "m"), RefCoco(tmp_path / "c", "refcocog")]
    for source in [*sources, Folder(tmp_path / "f"), Synth(tmp_path / "s")]:
        copy = pickle.loads(pickle.dumps(source))
        for index in range(len(source)):
            assert all(path.is_file() for path in source.files(index))
            first, second = (each.read(index, 3, np.random.default_rng(4)) for each in (source, copy))
            np.testing.assert_array_equal(first.frames, second.frames)
            np.testing.assert_array_equal(first.masks, second.masks)


def test_annotations_of_crowds_are_no_part_of_a_mask(tmp_path: Path) -> None:
    """As in the authors' dataset; a sentence that has no other is no sample."""
    truth = write_refcoco(tmp_path)
    listing = tmp_path / "refcoco" / "instances_refcoco_train.json"
    content = json.loads(listing.read_text())
    everything = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    crowd = {**content["annotations"][0], "id": 90, "segmentation": everything, "iscrowd": 1}
    content["annotations"].append(crowd)
    content["annotations"][1]["iscrowd"] = 1
    write_json(listing, content)
    with pytest.raises(BrokenSample, match="has no annotation, or only one of a crowd"):
        RefCoco(tmp_path, "refcoco")
    broken: list[BrokenSample] = []
    source = RefCoco(tmp_path, "refcoco", on_broken=broken.append)
    assert len(source) == len(broken) == 1
    name = content["images"][0]["file_name"]
    np.testing.assert_array_equal(source.read(0, 1, np.random.default_rng(0)).masks[0], truth[name])
