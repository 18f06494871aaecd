"""The command predicts every benchmark in its own layout, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rem_engine.segment.load
from rem_engine import Segmenter, SegmentSettings
from rem_engine.backbones.base import MODELSCOPE, WAN, TextsOneByOne
from tests.trainer.benchmarks.miniatures import write_burst, write_ref_vps, write_vspw
from tests.trainer.miniatures import write_mevis, write_ref_davis17, write_ref_ytvos
from trainer.benchmarks import predict
from trainer.benchmarks.names import BENCHMARKS, open_benchmark
from trainer.benchmarks.predict import for_benchmark
from trainer.commands.benchmark import NAMES
from trainer.commands.cli import main


def write_valid(root: Path) -> None:
    write_ref_ytvos(root, "valid")


WRITERS: dict[str, Callable[[Path], object]] = {
    "ref-davis17": write_ref_davis17,
    "ref-ytvos": write_ref_ytvos,
    "mevis": write_mevis,
    "burst": write_burst,
    "vspw": write_vspw,
    "ref-vps": write_ref_vps,
}


class Reddish(TextsOneByOne):
    """Takes red for what is asked for, whatever that is; its latents are the frames themselves."""

    name = "reddish"
    default_size = (32, 48)
    default_window = 9
    default_overlap = 4
    streamed = None
    family = WAN

    def __init__(self) -> None:
        self.windows: list[int] = []
        self.prompts: list[str] = []

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        self.windows.append(len(frames))
        return frames.permute(1, 0, 2, 3)[None]

    def encode_text(self, prompt: str) -> torch.Tensor:
        self.prompts.append(prompt)
        return torch.zeros(77, 8)

    def prompts_per_pass(self, latents: torch.Tensor) -> int:
        return 8

    def draw_noise(self, latents: torch.Tensor, seed: int) -> None:
        return None

    def predict_mask_latents(
        self, latents: torch.Tensor, prompt_embeds: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        red = (latents[:, :1] > 0.4) & (latents[:, 1:2] < -0.4)
        return red.float().expand(len(prompt_embeds), 3, -1, -1, -1)

    def decode_masks(self, mask_latents: torch.Tensor) -> torch.Tensor:
        return mask_latents[0].permute(1, 0, 2, 3)


@pytest.fixture
def reddish(monkeypatch: pytest.MonkeyPatch) -> Reddish:
    """Stands in the place of every model."""
    backbone = Reddish()

    def load(model: str, *, protocol: str, size: tuple[int, int] | None, window: int | None, **_: object) -> Segmenter:
        return Segmenter(backbone, SegmentSettings(protocol=protocol, size=size, window=window))

    monkeypatch.setattr(rem_engine.segment.load, "load_segmenter", load)
    return backbone


def run(*arguments: object) -> int:
    return main(["benchmark", *map(str, arguments)])


@pytest.mark.parametrize("name", WRITERS)
def test_every_benchmark_runs_from_its_layout_to_its_report(
    name: str, tiny_wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS[name](tmp_path / "data")
    out = tmp_path / "out"
    status = run(name, "--root", tmp_path / "data", "--model", tiny_wan, "--out", out, "--size", "16x16", "--limit", 1)
    assert status == 0, capsys.readouterr().err
    summary = json.loads((out / "results.json").read_text())
    assert json.loads(capsys.readouterr().out) == summary
    assert all(0 <= value <= 1 for measure, value in summary["scores"].items() if not measure.endswith("Decay"))
    for file in ("results.csv", "results.md", "contact_sheet.html"):
        assert (out / file).stat().st_size > 0
    benchmark = open_benchmark(name, tmp_path / "data")
    video = benchmark.video(benchmark.names()[0])
    expected = {f"{query.folder}/{mask}" for query in video.queries for mask in video.masks if mask}
    found = sorted((out / "predictions").rglob("*.png"))
    assert {path.relative_to(out / "predictions").as_posix() for path in found} == expected
    with Image.open(found[0]) as mask, Image.open(video.frames[0]) as frame:
        assert mask.mode == "L" and mask.size == frame.size and set(np.unique(np.asarray(mask))) <= {0, 255}


def test_the_command_knows_every_benchmark() -> None:
    assert [kind.name for kind in BENCHMARKS] == list(WRITERS) == list(NAMES)


def test_what_is_found_scores(reddish: Reddish, tmp_path: Path) -> None:
    write_ref_vps(tmp_path / "data")
    assert run("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out") == 0
    scores = json.loads((tmp_path / "out" / "results.json").read_text())["scores"]
    assert scores["J-Mean"] > 0.8  # all things are red, and the model sees them a little smaller


def test_masks_for_the_ytvos_server_are_zipped_as_it_takes_them(reddish: Reddish, tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path / "data")
    write_valid(tmp_path / "data")
    assert run("ref-ytvos", "--root", tmp_path / "data", "--out", tmp_path / "out") == 0
    with zipfile.ZipFile(tmp_path / "out" / "submission.zip") as archive:
        names = archive.namelist()
        with Image.open(archive.open(names[0])) as mask:
            assert mask.mode == "L" and set(np.unique(np.asarray(mask))) == {0, 255}
    frames = {"cc3": 9, "ee5": 9}  # dd4 belongs to the split test
    assert sorted(names) == sorted(
        f"Annotations/{video}/{expression}/{5 * t:05d}.png"
        for video, count in frames.items()
        for expression in ("0", "1")
        for t in range(count)
    )
    assert not (tmp_path / "out" / "results.md").exists()
    assert "The  Red square" in reddish.prompts  # sentences are encoded as they stand


def test_a_score_on_held_out_videos_takes_those_alone(reddish: Reddish, tmp_path: Path) -> None:
    write_ref_ytvos(tmp_path / "data")
    (tmp_path / "held_out.txt").write_text("bb2\n")
    arguments = ("ref-ytvos", "--split", "train", "--root", tmp_path / "data", "--videos", tmp_path / "held_out.txt")
    assert run(*arguments, "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out" / "predictions" / "Annotations").iterdir()} == {"bb2"}
    assert "only 1 of 2 videos" in (tmp_path / "out" / "results.md").read_text()


def test_a_list_of_videos_that_is_no_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ref_ytvos(tmp_path / "data")
    listed = tmp_path / "held_out.txt"
    listed.write_bytes(b"bb2\n\xff")
    arguments = ("ref-ytvos", "--split", "train", "--root", tmp_path / "data", "--videos", listed)
    assert run(*arguments, "--out", tmp_path / "out") == 2
    assert f"{listed}: byte 4 is not UTF-8; a text file of names is expected." in capsys.readouterr().err


def test_what_is_written_is_not_predicted_again(reddish: Reddish, tmp_path: Path) -> None:
    write_ref_vps(tmp_path / "data")
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments) == 0
    whole = {path: path.read_bytes() for path in (tmp_path / "out" / "predictions").rglob("*.png")}
    assert len(whole) == 18 and len(reddish.windows) == 2
    kept = tmp_path / "out" / "predictions" / "smoke_1"
    times = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    for path in whole:
        if path.parent.name == "waves_2" and int(path.stem) >= 5:
            path.unlink()
    assert run(*arguments, "--resume") == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "predictions").rglob("*.png")} == whole
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == times
    assert len(reddish.windows) == 3


def test_predictions_of_different_settings_are_not_mixed(
    reddish: Reddish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ref_vps(tmp_path / "data")
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments, "--limit", 1) == 0
    assert run(*arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(*arguments, "--resume", "--protocol", "shot") == 2
    assert "another protocol (paper, now shot)" in capsys.readouterr().err
    assert run(*arguments, "--resume") == 0
    assert len(list((tmp_path / "out" / "predictions").iterdir())) == 2


def test_a_run_that_never_began_leaves_its_folder_free(
    reddish: Reddish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ref_vps(tmp_path / "data")
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments, "--size", "40x40") == 2
    assert "multiples of 16" in capsys.readouterr().err
    assert run(*arguments) == 0


def test_ctrl_c_says_how_to_go_on(
    reddish: Reddish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write_ref_vps(tmp_path / "data")
    monkeypatch.setattr(reddish, "decode_masks", stop)
    assert run("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out") == 130
    assert "--resume" in capsys.readouterr().err


def test_many_sentences_are_asked_a_few_at_a_time(
    reddish: Reddish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ref_davis17(tmp_path / "data")
    monkeypatch.setattr(predict, "QUERIES_TOGETHER", 3)
    assert run("ref-davis17", "--root", tmp_path / "data", "--out", tmp_path / "out") == 0
    assert len(reddish.windows) == 1  # 8 sentences about a video of one window, which is encoded once
    assert len(list((tmp_path / "out" / "predictions").rglob("*.png"))) == 8 * 9


@pytest.mark.parametrize(
    ("name", "frames", "lengths", "pieces"),
    [
        ("ref-davis17", 62, [61, 61], 72),
        ("ref-ytvos", 7, [5, 5], 72),
        ("mevis", 62, [61, 61], 72),
        ("burst", 62, [49, 49], 64),
        ("burst", 70, [65, 65], 64),
        ("vspw", 110, [105, 105], 32),
        ("ref-vps", 80, [73, 73], 72),
    ],
)
def test_videos_are_cut_as_the_authors_cut_this_benchmark(
    name: str, frames: int, lengths: list[int], pieces: int
) -> None:
    kind = next(kind for kind in BENCHMARKS if kind.name == name)
    backbone = Reddish()
    wan = for_benchmark(Segmenter(backbone, SegmentSettings(protocol="paper")), kind)
    assert [window.length for window in wan.windows(frames)] == lengths
    assert backbone.family.paper_windows == (73, 61, 49, 37, 25, 17, 9)
    backbone.family = replace(MODELSCOPE, size_multiple=16)
    modelscope = for_benchmark(Segmenter(backbone, SegmentSettings(protocol="paper")), kind)
    assert [window.length for window in modelscope.windows(2 * pieces + 1)] == [pieces, pieces, 1]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_not_the_dataset_is_told_in_a_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name, "--root", tmp_path / "nowhere", "--out", tmp_path / "out") == 2
    assert run(name, "--root", tmp_path, "--out", tmp_path / "out") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all(error.startswith("error: ") for error in errors)
    assert not (tmp_path / "out").exists()


def test_a_window_is_encoded_once_for_a_video_and_anew_for_the_next(
    reddish: Reddish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of sentences about each of two videos of equal length and different frames; masks as without."""
    write_ref_ytvos(tmp_path / "data")
    write_valid(tmp_path / "data")
    arguments = ("ref-ytvos", "--root", tmp_path / "data")
    assert run(*arguments, "--out", tmp_path / "together") == 0
    assert len(reddish.windows) == 2
    monkeypatch.setattr(predict, "QUERIES_TOGETHER", 1)
    assert run(*arguments, "--out", tmp_path / "apart") == 0
    assert len(reddish.windows) == 4
    masks = [
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("predictions/**/*.png")}
        for out in ("together", "apart")
    ]
    assert masks[0] == masks[1] and len(masks[0]) == 2 * 2 * 9


def test_a_video_with_a_bad_frame_is_named_or_left_out(
    reddish: Reddish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ref_vps(tmp_path / "data")
    bad = tmp_path / "data" / "frames" / "smoke_1" / "00004.jpg"
    bad.write_bytes(b"")
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert "The video smoke_1: " in said and bad.name in said and "--on-broken skip" in said
    assert run(*arguments, "--resume", "--on-broken", "skip") == 0
    summary = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(summary["left_out"]) == ["smoke_1"] and bad.name in summary["left_out"]["smoke_1"]
    assert (summary["videos"], summary["videos_in_dataset"]) == (1, 2)
    report = (tmp_path / "out" / "results.md").read_text()
    assert "only 1 of 2 videos" in report and "Left out, since a file of each is bad: smoke_1." in report


def test_a_video_with_a_bad_annotation_is_named_or_left_out(
    reddish: Reddish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found when it is scored."""
    write_ref_vps(tmp_path / "data")
    bad = tmp_path / "data" / "masks" / "waves_2" / "00001.png"
    bad.write_bytes(bad.read_bytes()[:40])
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert f"The video waves_2: {bad}: cannot be decoded" in said
    assert run(*arguments, "--resume", "--on-broken", "skip") == 0
    summary = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(summary["left_out"]) == ["waves_2"] and summary["queries"] == 1


@pytest.mark.slow
def test_many_videos_are_scored_by_several_processes_to_the_same_scores(
    reddish: Reddish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ref_vps(tmp_path / "data")
    arguments = ("ref-vps", "--root", tmp_path / "data", "--out", tmp_path / "out")
    assert run(*arguments) == 0
    alone = (tmp_path / "out" / "results.csv").read_text()
    monkeypatch.setattr("trainer.benchmarks.score_all._VIDEOS_EACH", 1)
    monkeypatch.setattr("trainer.benchmarks.run.cores", lambda: 2)
    assert run(*arguments, "--resume") == 0
    assert (tmp_path / "out" / "results.csv").read_text() == alone


@pytest.mark.slow
def test_two_processes_share_a_benchmark_and_report_once(tiny_wan: Path, tmp_path: Path) -> None:
    """Started by torchrun, through gloo: the masks, scores and report of one."""
    write_ref_vps(tmp_path / "data")
    common = ("--root", tmp_path / "data", "--model", tiny_wan, "--size", "16x16")
    assert run("ref-vps", *common, "--out", tmp_path / "one") == 0
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    command = ["-m", "trainer", "benchmark", "ref-vps", *map(str, common), "--out", str(tmp_path / "two")]
    root = Path(__file__).parents[3]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [sys.executable, *launcher, *command], cwd=root, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == json.loads((tmp_path / "two" / "results.json").read_text())  # printed once
    for name in ("results.csv", "results.md", "contact_sheet.html"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    masks = [sorted((tmp_path / out / "predictions").rglob("*.png")) for out in ("one", "two")]
    assert [path.read_bytes() for path in masks[0]] == [path.read_bytes() for path in masks[1]]
    assert len(masks[0]) == 18 and not list((tmp_path / "two").glob(".*"))
