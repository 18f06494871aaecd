"""check-data says what a dataset is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.benchmarks.miniatures import write_vspw
from tests.trainer.miniatures import write_mevis, write_refcoco
from trainer.commands.cli import main


def write_shot(root: Path, name: str, frames: int, size: tuple[int, int], filled: int, prompts: str) -> None:
    """A shot whose mask `thing` fills so many rows of every frame but the first, where it is empty."""
    height, width = size
    for folder in ("frames", "masks/thing"):
        (root / name / folder).mkdir(parents=True)
    for t in range(frames):
        Image.fromarray(np.full((height, width, 3), 9 * t, np.uint8)).save(root / name / f"frames/{t:04d}.png")
        mask = np.zeros((height, width), np.uint8)
        mask[: filled if t else 0] = 255
        Image.fromarray(mask).save(root / name / f"masks/thing/{t:04d}.png")
    (root / name / "prompts.txt").write_text(prompts)


def test_lengths_sizes_areas_and_sentences_are_those_of_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shot(tmp_path, "a", 5, (20, 30), 2, "thing: the red thing\nthing: it\n-: nothing of the kind\n")
    write_shot(tmp_path, "b", 3, (20, 30), 10, "thing: a thing\n")
    write_shot(tmp_path, "c", 4, (2000, 10), 1, "thing: one two three four five\n")
    assert main(["check-data", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "clips      3: 3 to 5 (median 4) frames; 30x20 (2), 10x2000 (1) pixels"
    # 8 frames of 10 %, two of 50 %, three of 0.05 %; 4 of 17 masks are empty; one of four sentences names so little
    assert said[2].startswith("masks      0.05 % to 50 % of the picture, median 10 %; 24% are empty; 25% of the")
    assert said[3] == "sentences  1 to 5 (median 3) words (--model counts its tokens)"


def test_tokens_are_those_of_a_model_and_what_goes_past_77_is_counted(
    tmp_path: Path, tiny_wan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    long = " ".join(["smoke"] * 100)
    write_shot(tmp_path, "a", 2, (8, 8), 2, f"thing: smoke\nthing: {long}\n")
    tokenizer = AutoTokenizer.from_pretrained(tiny_wan / "tokenizer")
    counts = [len(tokenizer(text).input_ids) for text in ("smoke", long)]
    assert max(counts) > 77 >= min(counts)
    assert main(["check-data", str(tmp_path), "--model", str(tiny_wan)]) == 0
    said = capsys.readouterr().out
    assert f"sentences  {counts[0]} to {counts[1]} (median" in said
    assert "tokens; 1 of more than the 77 that count" in said


@pytest.mark.parametrize(
    ("write", "options", "clips"),
    [
        (write_refcoco, ["refcoco", "--name", "refcoco"], "1 to 1 (median 1) frames"),
        (write_mevis, ["mevis", "--split", "valid_u"], "frames"),
        (write_vspw, ["vspw"], "frames"),
    ],
)
def test_published_layouts_have_their_figures_too(
    write: object, options: list[str], clips: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    assert main(["check-data", str(tmp_path), "--kind", *options]) == 0
    _, lengths, masks, sentences = capsys.readouterr().out.splitlines()
    assert clips in lengths and "% of the picture" in masks and " words " in sentences


def test_each_sentence_of_a_benchmark_has_the_areas_of_its_own_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "val.txt").write_text("video\n")
    for folder in ("origin", "mask"):
        (tmp_path / "data/video" / folder).mkdir(parents=True)
    Image.new("RGB", (100, 40)).save(tmp_path / "data/video/origin/0000.jpg")
    ids = np.full((40, 100), 1, np.uint8)  # wall
    ids[0, :2] = 29  # sky, 0.05 % of the picture
    Image.fromarray(ids).save(tmp_path / "data/video/mask/0000.png")
    assert main(["check-data", str(tmp_path), "--kind", "vspw"]) == 0
    assert "50% of the sentences name something below 0.1%" in capsys.readouterr().out
