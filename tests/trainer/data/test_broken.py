"""Nothing broken is trained on: every fault names its file, and is refused or left out as the settings say."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.miniatures import (
    HEIGHT,
    WIDTH,
    write_folder,
    write_json,
    write_mevis,
    write_ref_ytvos,
    write_refcoco,
)
from trainer.commands.cli import main
from trainer.data.folder import Folder
from trainer.data.mevis import Mevis
from trainer.data.open import open_sources
from trainer.data.ref_ytvos import RefYtvos
from trainer.data.refcoco import RefCoco
from trainer.data.sample import BrokenSample, Source
from trainer.data.synth import Synth
from trainer.settings import DataSettings
from trainer.synth.backgrounds import procedural
from trainer.synth.write import write_split

SPOKEN = Path("meta_expressions/train/meta_expressions.json")


def change(path: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    write_json(path, content)


def refuses(source: Source, index: int, path: Path, words: str, frames: int = 6) -> None:
    with pytest.raises(BrokenSample, match=words) as caught:
        source.read(index, frames, np.random.default_rng(0))
    assert caught.value.path == path and str(path) in str(caught.value)


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    source = RefYtvos(tmp_path)
    frame = tmp_path / "train/JPEGImages/aa1/00010.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[: len(whole) // 2])
    refuses(source, 0, frame, "truncated")
    frame.write_bytes(b"")
    refuses(source, 0, frame, "cannot be decoded")
    frame.unlink()
    refuses(source, 0, frame, "is missing")
    frame.write_bytes(whole)
    annotation = tmp_path / "train/Annotations/aa1/00010.png"
    whole = annotation.read_bytes()
    annotation.write_bytes(whole[: len(whole) - 30])
    refuses(source, 0, annotation, "cannot be decoded")
    annotation.unlink()
    refuses(source, 0, annotation, "is missing")


def test_sizes_that_differ(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    annotation = tmp_path / "train/Annotations/aa1/00010.png"
    shutil.copy(annotation, tmp_path / "kept.png")
    Image.fromarray(np.ones((HEIGHT, WIDTH + 1), np.uint8)).save(annotation)
    refuses(RefYtvos(tmp_path), 0, annotation, f"{WIDTH + 1}x{HEIGHT} pixels, but the frame 00010.jpg is {WIDTH}x")
    shutil.copy(tmp_path / "kept.png", annotation)
    frame = tmp_path / "train/JPEGImages/aa1/00010.jpg"
    Image.fromarray(np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8)).save(frame)
    refuses(RefYtvos(tmp_path), 0, frame, f"is {WIDTH - 1}x{HEIGHT} pixels, but another frame")


def test_annotations_in_colours_are_not_taken_for_numbers(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    annotation = tmp_path / "train/Annotations/aa1/00000.png"
    with Image.open(annotation) as image:
        image.convert("RGB").save(annotation)
    refuses(RefYtvos(tmp_path), 0, annotation, "RGB pixels; an 8-bit PNG of object numbers")


def test_a_thing_may_leave_the_picture_but_not_be_nowhere(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    folder = tmp_path / "train/Annotations/aa1"
    files = sorted(folder.iterdir())
    for path in files[:-1]:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(path)
    seeds = (seed for seed in range(50) if 5 not in np.random.default_rng(seed).choice(6, 2, replace=False))
    gone = RefYtvos(tmp_path).read(0, 2, np.random.default_rng(next(seeds)))
    assert not gone.masks.any()  # the last frame, which was not drawn, has it
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(files[-1])
    refuses(RefYtvos(tmp_path), 0, files[0], "is empty, as are all masks of aa1 for the sentence 'The  Red square'", 2)


def test_bad_json_is_refused_with_file_and_line(tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path)
    (tmp_path / SPOKEN).write_text('{"videos":\n  {"a": }\n}')
    with pytest.raises(BrokenSample, match="meta_expressions.json: line 2, column 9 is not JSON"):
        RefYtvos(tmp_path)
    (tmp_path / SPOKEN).write_text("[]")
    with pytest.raises(BrokenSample, match="the file has no 'videos'"):
        RefYtvos(tmp_path)
    (tmp_path / SPOKEN).write_bytes(b'{"videos": {"\xff": {}}}')
    with pytest.raises(BrokenSample, match="UTF-8"):
        RefYtvos(tmp_path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda entry: entry.pop("exp"), "expression 0 of the video aa1 has no 'exp'"),
        (lambda entry: entry.pop("obj_id"), "expression 0 of the video aa1 has no 'obj_id'"),
        (lambda entry: entry.update(exp=7), "'exp' of expression 0 of the video aa1 is 7, which is of the wrong kind"),
        (lambda entry: entry.update(exp="  "), "has no words"),
        (lambda entry: entry.update(obj_id="one"), "which is no number"),
    ],
)
def test_sentences_without_their_fields(tmp_path: Path, edit: Callable[[dict], object], words: str) -> None:
    write_ref_ytvos(tmp_path)
    change(tmp_path / SPOKEN, lambda content: edit(content["videos"]["aa1"]["expressions"]["0"]))
    with pytest.raises(BrokenSample, match=words):
        RefYtvos(tmp_path)
    left_out: list[BrokenSample] = []
    source = RefYtvos(tmp_path, on_broken=left_out.append)
    assert len(source) == 3 and len(left_out) == 1 and left_out[0].path == tmp_path / SPOKEN


def test_mevis_annotations_that_are_not_there(tmp_path: Path) -> None:
    write_mevis(tmp_path)
    masks = tmp_path / "train/mask_dict.json"
    change(masks, lambda content: content["71"].pop())
    with pytest.raises(BrokenSample, match="has 8 masks for annotation 71, but the video tt1 has 9 frames"):
        Mevis(tmp_path)
    change(masks, lambda content: content.pop("71"))
    with pytest.raises(BrokenSample, match="has no annotation 71"):
        Mevis(tmp_path)
    change(masks, lambda content: content["70"].__setitem__(4, {"size": [HEIGHT, WIDTH]}))
    source = Mevis(tmp_path, on_broken=lambda broken: None)
    refuses(source, 0, masks, "annotation 70, frame 4 of tt1 is neither polygons nor run lengths", 9)


def test_refcoco_entries(tmp_path: Path) -> None:
    name = next(iter(write_refcoco(tmp_path)))
    listing = tmp_path / "refcoco/instances_refcoco_train.json"
    change(listing, lambda content: content["annotations"][0].update(segmentation=[[0, 0, 0, 0, 0, 0]]))
    refuses(RefCoco(tmp_path, "refcoco"), 0, listing, f"the mask of the sentence 1 .*{name}.* is empty")
    change(listing, lambda content: content["images"][0].update(width=WIDTH + 2))
    refuses(RefCoco(tmp_path, "refcoco"), 0, tmp_path / "train2014" / name, f"but .*_train.json says {WIDTH + 2}x")
    change(listing, lambda content: content["annotations"].pop(0))
    with pytest.raises(BrokenSample, match="the image entry 1 has no annotation"):
        RefCoco(tmp_path, "refcoco")
    change(listing, lambda content: content["images"][0].pop("caption"))
    with pytest.raises(BrokenSample, match="the image entry 1 has no 'caption'"):
        RefCoco(tmp_path, "refcoco")
    with pytest.raises(ValueError, match="refcoco, refcoco\\+, refcocog"):
        RefCoco(tmp_path, "refcocox")


def test_own_footage_says_what_to_mend(tmp_path: Path) -> None:
    write_folder(tmp_path)
    shot = tmp_path / "sh010"
    (shot / "prompts.txt").write_text("red the red square\n")
    with pytest.raises(BrokenSample, match="prompts.txt: line 1 is not '<mask>: <sentence>'"):
        Folder(tmp_path)
    (shot / "prompts.txt").write_text("green: the green star\n")
    with pytest.raises(BrokenSample, match="masks/green: is missing"):
        Folder(tmp_path)
    (shot / "prompts.txt").write_text("red: the red square\n")
    (shot / "frames" / "plate.1003.png").unlink()
    with pytest.raises(BrokenSample, match="matte_1003.png: belongs to no frame"):
        Folder(tmp_path)
    (shot / "prompts.txt").write_bytes(b"red: caf\xe9\n")
    with pytest.raises(BrokenSample, match="byte 8 is not UTF-8"):
        Folder(tmp_path)
    (shot / "prompts.txt").unlink()
    with pytest.raises(BrokenSample, match="prompts.txt: is missing"):
        Folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no shot"):
        Folder(shot)


def test_rendered_shots_without_a_matte(tmp_path: Path) -> None:
    write_split(tmp_path / "s", 1, 3, procedural, frames=3, height=40, width=48, unseen=False)
    matte = next((tmp_path / "s/train/alpha").rglob("1/00001.png"))
    source = Synth(tmp_path / "s")
    index = next(i for i in range(len(source)) if matte in source.files(i))
    matte.unlink()
    refuses(source, index, matte, "is missing", 3)


@pytest.mark.parametrize("target", [[], ["1"]])
def test_a_rendered_shots_sentence_that_names_no_things(tmp_path: Path, target: list) -> None:
    write_split(tmp_path / "s", 1, 3, procedural, frames=1, height=40, width=48, unseen=False)

    def damage(content: dict) -> None:
        next(iter(content["videos"].values()))["expressions"][0]["target"] = target

    change(tmp_path / "s" / "synth.json", damage)
    with pytest.raises(BrokenSample, match=r"synth.json: 'target' of 'the .*' of the video .* lists no things"):
        Synth(tmp_path / "s")


def test_settings_decide_between_refusing_and_leaving_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ref_ytvos(tmp_path)
    change(tmp_path / SPOKEN, lambda content: content["videos"]["aa1"]["expressions"]["0"].pop("exp"))
    settings = {"sources": [{"kind": "ref_ytvos", "root": tmp_path}], "frames": 2, "batch": 1}
    with pytest.raises(BrokenSample):
        open_sources(DataSettings(**settings, on_broken="refuse"))
    assert len(open_sources(DataSettings(**settings, on_broken="skip"))) == 3
    assert str(tmp_path / SPOKEN) in caplog.text and "has no 'exp'" in caplog.text


def test_a_dataset_of_nothing_usable_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / SPOKEN, {"videos": {}})
    settings = {"sources": [{"kind": "ref_ytvos", "root": tmp_path}], "frames": 2, "batch": 1}
    with pytest.raises(ValueError, match="no sentence that can be trained on"):
        open_sources(DataSettings(**settings))
    settings["sources"][0]["root"] = tmp_path / "elsewhere"
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        open_sources(DataSettings(**settings))


def test_a_broken_sample_survives_the_way_between_processes(tmp_path: Path) -> None:
    broken = pickle.loads(pickle.dumps(BrokenSample(tmp_path / "a.png", "is missing.")))
    assert broken.path == tmp_path / "a.png" and str(broken) == f"{tmp_path / 'a.png'}: is missing."


def test_check_data_counts_and_names_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path)
    assert main(["check-data", str(tmp_path)]) == 0
    assert "4 sentences, 4 fit to train on" in capsys.readouterr().out
    (tmp_path / "sh010/masks/red/matte_1006.png").write_bytes(b"\x89PNG")
    with open(tmp_path / "sh010/prompts.txt", "a") as file:
        file.write("no colon\n")
    assert main(["check-data", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "4 sentences, 2 fit to train on" in shown.out
    assert shown.out.count("matte_1006.png") == 2 and "prompts.txt: line 7" in shown.out  # in path and message, once
    assert "2 things are wrong" in shown.err
