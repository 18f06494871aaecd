"""A conversion that cannot be, or is stopped, leaves what was there, and none takes much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from progress_log import ProgressLog
from red_model import check_refused
from safetensors.torch import save_file
from stops import disk_full, stop_at

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints import read_state_dict, split_components
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.safetensors_file import Writer
from rem_engine.commands.cli import main
from rem_engine.progress import Unit

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["IN", "-o", "OUT.pth"], "let it end in .safetensors"),
        (["nothing.pth", "-o", "OUT.safetensors"], "There is no checkpoint at"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta"], "A delta needs --base"),
        (["IN", "-o", "OUT.safetensors", "--base", "BASE"], "--base is for --as delta"),
        (["IN", "-o", "OUT.safetensors", "--as", "lora", "--base", "BASE", "--rank", "0"], "no rank; give 1"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "BASE", "--dtype", "float8_e5m2"], "too coarse"),
        (["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "BASE", "--names", "diffusers"], "ComfyUI's names"),
        (
            ["IN", "-o", "OUT.safetensors", "--as", "delta", "--base", "MINI"],
            "The base transformer does not fit: this is",
        ),
        (["VAE", "-o", "OUT.safetensors"], "holds no whole denoiser that REM works on: this is a Wan2.1 VAE"),
        (["IN", "-o", "OUT.safetensors", "--dtype", "int4"], "invalid choice: 'int4'"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    source: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"IN": source, "BASE": base, "VAE": base / "vae", "MINI": MINI_FOLDER / "transformer"}
    check_refused(["convert", *(str(places.get(argument, argument)) for argument in arguments)], sentence, capsys)
    assert not list(tmp_path.iterdir())


def test_a_lora_or_a_model_cut_short_is_no_source(base: Path, tmp_path: Path) -> None:
    save_file({"diffusion_model.blocks.0.norm3.diff": torch.ones(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="this is a LoRA or delta, not a whole model"):
        convert(Conversion(tmp_path / "lora.safetensors", tmp_path / "out.safetensors"))
    weights = {n: t.clone() for n, t in read_state_dict(base).items() if n != "blocks.1.ffn.net.2.bias"}
    save_file(weights, tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match=r"missing: blocks\.1\.ffn\.2\.bias"):
        convert(Conversion(tmp_path / "cut.safetensors", tmp_path / "out.safetensors"))


def test_a_file_is_not_converted_onto_itself(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "rem.safetensors"
    convert(Conversion(source, out))
    before = out.read_bytes()
    with pytest.raises(ValueError, match="is read from: choose another name"):
        convert(Conversion(out, out, dtype=torch.float16))
    assert out.read_bytes() == before


@pytest.mark.parametrize("form", ["full", "lora"])
def test_ctrl_c_leaves_what_was_there(source: Path, base: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "rem.safetensors"
    out.write_bytes(b"older")

    class StopHalfway(ProgressLog):
        def update(self, unit: Unit, done: int, total: int) -> None:
            if done > total / 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="Interrupted: nothing was written to .*rem.safetensors"):
        given = None if form == "full" else base
        convert(Conversion(source, out, form=form, base=given, overwrite=True), StopHalfway())
    assert [file.name for file in tmp_path.iterdir()] == ["rem.safetensors"]
    assert out.read_bytes() == b"older"


@pytest.mark.parametrize("name", ["rem.safetensors", "rem.report.json"])
def test_a_file_that_no_conversion_wrote_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine, out = tmp_path / name, tmp_path / "rem.safetensors"
    mine.write_bytes(b"mine")
    command = ["convert", str(MINI_FOLDER / "transformer"), "-o", str(out)]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"error: {mine} is no conversion's: ")
    assert mine.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    mine.unlink()
    for _ in range(2):  # the second replaces what the first wrote
        assert main(command) == 0


@pytest.mark.slow
def test_of_two_conversions_to_one_file_at_once_one_is_there_whole(tmp_path: Path) -> None:
    source, out = MINI_FOLDER / "transformer", tmp_path / "rem.safetensors"
    convert(Conversion(source, tmp_path / "alone.safetensors", dtype=torch.float32))
    command = [sys.executable, "-m", "rem_engine", "convert", str(source), "-o", str(out), "--dtype", "float32"]
    for _ in range(3):
        both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(120) for process in both] == [0, 0]
        assert out.read_bytes() == (tmp_path / "alone.safetensors").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"alone.safetensors", "rem.safetensors"}


def test_a_full_disk_is_told_and_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with stop_at(1, Writer, "finish", disk_full()):
        assert main(["convert", str(source), "-o", str(tmp_path / "rem.safetensors")]) == 2
    assert "No space is left on the disk for" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_disk_that_has_no_room_for_the_report_leaves_both_files_as_they_were(
    source: Path, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rem.safetensors"
    older = {out: b"older", out.with_suffix(".report.json"): b"older too"}
    for file, content in older.items():
        file.write_bytes(content)
    with (
        stop_at(1, sys.modules[convert.__module__], "write_report", disk_full()),
        pytest.raises(RuntimeError, match="make room; nothing was written"),
    ):
        convert(Conversion(source, out, form="lora", base=base, overwrite=True))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == older


def test_a_disk_too_small_is_told_before_work_begins(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    log = ProgressLog()
    with pytest.raises(RuntimeError, match=r"needs 9 MB and its disk has 1 MB free: make room"):
        convert(Conversion(source, tmp_path / "rem.safetensors"), log)
    assert not log.counts and not list(tmp_path.iterdir())


def test_progress_counts_every_byte_of_the_source_once(source: Path, base: Path, tmp_path: Path) -> None:
    expected = sum(t.nbytes for t in split_components(read_state_dict(source))["transformer"].values())
    for options in ({}, {"dtype": torch.float8_e4m3fn}, {"form": "delta", "base": base}):
        log = ProgressLog()
        convert(Conversion(source, tmp_path / "rem.safetensors", **options), log)
        told = log.counts["bytes"]
        assert told[-1] == (expected, expected)
        assert told == sorted(told)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("dtype", ["keep", "bfloat16"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, dtype: str) -> None:
    """A file of 220 MB in less than 120 MB beyond what importing torch takes."""
    program = (
        "import sys; from pathlib import Path; import torch; from rem_engine.checkpoints.convert import *\n"
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = peak(); dtype = None if sys.argv[3] == 'keep' else getattr(torch, sys.argv[3])\n"
        "convert(Conversion(Path(sys.argv[1]), Path(sys.argv[2]), dtype=dtype)); print(peak() - before)"
    )
    write_hollow_model(tmp_path / "in.safetensors")
    command = [sys.executable, "-c", program, "in.safetensors", "out.safetensors", dtype]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    assert int(done.stdout) / 1024 < 120


def write_hollow_model(path: Path) -> None:
    from rem_engine.checkpoints.architecture import text_to_video_shapes

    begin = {
        "patch_embedding.weight": torch.empty(1536, 16, 1, 2, 2, device="meta"),
        "blocks.0.ffn.0.weight": torch.empty(4096, 1536, device="meta"),
    }
    header, end = {}, 0
    for name, shape in text_to_video_shapes(begin).items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
