"""What real datasets have and no description of them says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.benchmarks.miniatures import write_vspw
from tests.trainer.data.test_broken import change
from tests.trainer.miniatures import write_mevis, write_ref_ytvos, write_refcoco
from trainer.benchmarks.names import open_benchmark
from trainer.commands.cli import main
from trainer.data.mevis import Mevis
from trainer.data.ref_ytvos import RefYtvos
from trainer.data.refcoco import RefCoco
from trainer.data.sample import BrokenSample


@pytest.mark.parametrize("kind", ["origin/00000003.jpg", "mask/00000003.png"])
def test_frames_and_masks_of_no_bytes_in_vspw_are_named_and_cost_their_video_alone(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vspw(tmp_path)
    empty = tmp_path / "data" / "222_b" / kind
    empty.write_bytes(b"")
    assert main(["check-data", str(tmp_path), "--kind", "vspw"]) == 2
    said = capsys.readouterr()
    assert str(empty) in said.out and "Traceback" not in said.err
    assert "1 fit to be evaluated on" in said.out  # the other video's
    other = open_benchmark("vspw", tmp_path).video("111_a")
    assert len(other.frames) == 9 and [query.name for query in other.queries] == ["grass"]


@pytest.mark.parametrize("kind", [str, int])
def test_ids_are_numbers_or_texts_of_them(kind: type, tmp_path: Path) -> None:
    """Ref-YTVOS has texts, MeViS numbers for the names of its masks; COCO's are either, by who converted them."""
    ids = write_ref_ytvos(tmp_path / "ytvos")["aa1"]
    change(
        tmp_path / "ytvos/meta_expressions/train/meta_expressions.json",
        lambda content: [
            each.update(obj_id=kind(each["obj_id"])) for each in content["videos"]["aa1"]["expressions"].values()
        ],
    )
    sample = RefYtvos(tmp_path / "ytvos").read(0, 200, np.random.default_rng(0))
    assert sample.masks.any() and {tuple(mask.shape) for mask in sample.masks} == {ids.shape[1:]}
    truth = write_mevis(tmp_path / "mevis")["tt1"]
    change(
        tmp_path / "mevis/train/meta_expressions.json",
        lambda content: [
            each.update(anno_id=[kind(number) for number in each["anno_id"]])
            for each in content["videos"]["tt1"]["expressions"].values()
        ],
    )
    both = Mevis(tmp_path / "mevis").read(1, 9, np.random.default_rng(0))
    np.testing.assert_array_equal(both.masks, truth > 0)
    masks = write_refcoco(tmp_path / "coco")
    listing = tmp_path / "coco/refcoco/instances_refcoco_train.json"
    change(listing, lambda content: [each.update(id=kind(each["id"])) for each in content["images"]])
    source = RefCoco(tmp_path / "coco", "refcoco")
    for index, mask in enumerate(masks.values()):
        np.testing.assert_array_equal(source.read(index, 1, np.random.default_rng(0)).masks[0], mask)


def test_a_null_in_the_place_of_run_lengths_is_an_empty_mask(tmp_path: Path) -> None:
    """As MeViS has it where a thing is out of the picture; a thing that is never in it cannot be learnt from."""
    truth = write_mevis(tmp_path)["tt1"]
    path = tmp_path / "train/mask_dict.json"
    change(path, lambda content: content["70"].__setitem__(slice(2, 5), [None] * 3))
    masks = Mevis(tmp_path).read(0, 9, np.random.default_rng(0)).masks
    assert not masks[2:5].any()
    np.testing.assert_array_equal(masks[5:], truth[5:] == 1)
    change(path, lambda content: content["70"].__setitem__(slice(None), [None] * 9))
    with pytest.raises(BrokenSample, match=r"mask_dict\.json: is empty, as are all masks of tt1"):
        Mevis(tmp_path).read(0, 9, np.random.default_rng(0))


def test_a_null_segmentation_of_coco_costs_its_sentence_alone(tmp_path: Path) -> None:
    write_refcoco(tmp_path)
    listing = tmp_path / "refcoco/instances_refcoco_train.json"
    change(listing, lambda content: content["annotations"][0].update(segmentation=None))
    left_out: list[BrokenSample] = []
    source = RefCoco(tmp_path, "refcoco", on_broken=left_out.append)
    assert len(source) == 1 and source.text(0) == "red square 2 of refcoco"
    assert "'segmentation' of the annotation" in str(left_out[0])


def test_refcoco_as_published_is_told_how_it_becomes_what_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_refcoco(tmp_path)
    folder = tmp_path / "refcoco"
    (folder / "instances_refcoco_train.json").rename(folder / "instances.json")
    (folder / "refs(unc).p").write_bytes(b"\x80\x02]q\x00.")
    assert main(["check-data", str(tmp_path), "--kind", "refcoco", "--name", "refcoco"]) == 2
    said = capsys.readouterr().err
    assert "refs(unc).p beside it is RefCOCO as published" in said and "convert_refexp_to_coco.py" in said
    assert json.loads((folder / "instances.json").read_text())["images"]  # as it was
