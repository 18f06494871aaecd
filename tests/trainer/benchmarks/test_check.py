"""check-data reads every published dataset, also those that are evaluated on alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.benchmarks.miniatures import write_burst, write_ref_vps, write_vspw
from tests.trainer.miniatures import write_mevis, write_ref_davis17, write_ref_ytvos, write_refcoco
from trainer.benchmarks.check import KINDS
from trainer.commands.check_data import _EVALUATED_ON
from trainer.commands.cli import main


def write_valid(root: Path) -> None:
    write_ref_ytvos(root, "valid")


SPLITS: list[tuple[Callable[[Path], object], list[str], int]] = [
    (write_refcoco, ["refcoco", "--name", "refcoco+", "--split", "val"], 2),
    (write_ref_ytvos, ["ref_ytvos"], 4),
    (write_valid, ["ref_ytvos", "--split", "valid"], 4),
    (write_ref_davis17, ["ref_davis17", "--split", "valid"], 8),
    (write_mevis, ["mevis", "--split", "valid_u"], 3),
    (write_mevis, ["mevis", "--split", "valid"], 3),
    (write_burst, ["burst"], 3),
    (write_vspw, ["vspw"], 3),
    (write_ref_vps, ["ref_vps"], 2),
]


@pytest.mark.parametrize(("write", "options", "count"), SPLITS, ids=[" ".join(options) for _, options, _ in SPLITS])
def test_every_published_split_is_read_through_and_a_bad_frame_is_named(
    write: Callable[[Path], object], options: list[str], count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    assert main(["check-data", str(tmp_path), "--kind", *options]) == 0
    assert f": {count} sentences, {count} fit to " in capsys.readouterr().out
    split = options[options.index("--split") + 1] if "--split" in options else ""
    folder = tmp_path / split if (tmp_path / split).is_dir() else tmp_path
    frame = sorted(folder.rglob("*.jpg"))[0]
    frame.write_bytes(frame.read_bytes()[:300])
    assert main(["check-data", str(tmp_path), "--kind", *options]) == 2
    printed = capsys.readouterr()
    assert str(frame) in printed.out and "wrong with" in printed.err


def test_a_video_without_frames_of_an_annotation_of_another_size_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    write_ref_vps(tmp_path)
    mask = tmp_path / "masks" / "smoke_1" / "00003.png"
    Image.new("L", (10, 10)).save(mask)
    assert main(["check-data", str(tmp_path), "--kind", "ref_vps"]) == 2
    assert "and its annotation 10x10" in capsys.readouterr().out


def test_the_command_knows_the_layouts_that_are_evaluated_on_alone() -> None:
    assert tuple(KINDS) == _EVALUATED_ON
