"""What a run keeps of itself, damaged or on a full disk: one sentence that names the file, through the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from runs import run, write_settings, write_shots
from safetensors.torch import load

from trainer.commands.cli import main
from trainer.run.checkpoint import DENOISER_FILE, Checkpoints, read_progress
from trainer.run.run_folder import START_FILE, read_start

CHECKPOINT = Path("checkpoints") / "00000002"
START = {"model": "mini", "checkpoint": None, "world_size": 1}
NOT_JSON = ("", "{", "[]", "null", "3", "[" * 100_000, "\xff")


@pytest.mark.parametrize(
    "content",
    [
        *NOT_JSON,
        *(json.dumps(START | change) for change in ({"model": 3}, {"world_size": "x"}, {"world_size": 0})),
        json.dumps({"model": "mini"}),
    ],
)
def test_the_start_of_a_run_that_is_damaged_is_told(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / START_FILE
    path.write_bytes(content.encode("latin-1"))
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "o.safetensors")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} is damaged (") and said.count("\n") == 1
    assert "name another folder, or move it away" in said


def test_older_runs_call_processes_what_is_world_size_now(tmp_path: Path) -> None:
    (tmp_path / START_FILE).write_text(json.dumps({"model": "mini", "checkpoint": None, "processes": 2}))
    assert read_start(tmp_path).world_size == 2


@pytest.mark.parametrize(
    "content",
    [*NOT_JSON, "{}", *(json.dumps({"step": step}) for step in (-1, "x", None)), '{"step": 2, "score": NaN}'],
)
def test_the_progress_of_a_checkpoint_that_is_damaged_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / CHECKPOINT / "progress.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    for read in (lambda: read_progress(path.parent), Checkpoints(tmp_path / "checkpoints", 1).best):
        with pytest.raises(ValueError, match="is damaged .*: remove that checkpoint's folder, and the run goes on"):
            read()


@pytest.fixture(scope="module")
def trained(tiny_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model, settings, and a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    settings = write_settings(folder / "settings.yaml", write_shots(folder / "shots", 2), steps=2)
    run(tiny_wan, settings, folder / "run")
    return tiny_wan, settings, folder / "run"


@pytest.fixture
def resumed(
    trained: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[Path, Callable[..., tuple[int, str]]]:
    """A copy of the run, and the command that goes on with it: its exit code, and what it says in the end."""
    model, settings, whole = trained
    folder = Path(shutil.copytree(whole, tmp_path / "run"))

    def go_on(*overrides: str) -> tuple[int, str]:
        command = ["train", str(settings), "--model", str(model), "--out", str(folder), "--resume"]
        code = main([*command, *(("--set", *overrides) if overrides else ())])
        lines = capsys.readouterr().err.splitlines()
        return code, next((line for line in lines if line.startswith("error: ")), "")

    return folder, go_on


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optimizer.bin", DENOISER_FILE, "random_states_0.pkl", "settings.yaml"])
def test_a_run_with_a_damaged_file_is_not_gone_on_with(
    resumed: tuple[Path, Callable[..., tuple[int, str]]], name: str
) -> None:
    folder, go_on = resumed
    assert go_on() == (0, "")
    path = folder / name if name == "settings.yaml" else folder / CHECKPOINT / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\xff")
    code, said = go_on()
    assert code == 2 and str(path.parent) in said


@pytest.mark.slow
def test_shards_of_a_cache_that_are_damaged_are_made_anew(
    resumed: tuple[Path, Callable[..., tuple[int, str]]],
) -> None:
    folder, go_on = resumed
    paths = list((folder / "cache").rglob("*.safetensors"))
    assert len(paths) == 2  # of texts and of latents
    whole = [load(path.read_bytes()) for path in paths]
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert go_on() == (0, "")
    for path, before in zip(paths, whole, strict=True):
        now = load(path.read_bytes())
        assert now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in before)


def from_the_library(path: Path) -> Exception:
    """What PyTorch's writer of archives raises where it wrote less than it gave; the disk was a full one of 1 MB."""
    return RuntimeError(f"[enforce fail at inline_container.cc:672] . unexpected pos 302016 vs 301908 ({path.name})")


@pytest.mark.slow
def test_a_full_disk_ends_a_checkpoint_in_one_sentence_and_gives_its_room_back(
    trained: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, settings, _ = trained
    out = tmp_path / "run"

    def full(content: Any, path: Any, *_: Any, **__: Any) -> None:
        Path(path).write_bytes(b"half")
        raise from_the_library(Path(path))

    monkeypatch.setattr(torch, "save", full)
    assert main(["train", str(settings), "--model", str(model), "--out", str(out)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said == [
        f"error: No space is left on the disk for {out / CHECKPOINT}: make room; there is no checkpoint yet."
    ]
    assert not any((out / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_disk_that_is_full_later_keeps_the_last_checkpoint_and_says_which(
    resumed: tuple[Path, Callable[..., tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, go_on = resumed
    whole = folder / CHECKPOINT
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    kept = {path.name: path.read_bytes() for path in whole.iterdir()}

    def full(content: Any, path: Any, *_: Any, **__: Any) -> None:
        raise from_the_library(Path(path))

    # As if the run had been of more steps from the start.
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "steps": 4}))
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        code, said = go_on("steps=4")
    assert (code, said) == (
        2,
        f"error: No space is left on the disk for {folder / 'checkpoints' / '00000004'}: make room; {whole} is kept, "
        "and --resume goes on from it.",
    )
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == kept
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [whole.name]
    assert go_on("steps=4") == (0, "")


@pytest.mark.slow
def test_a_full_disk_ends_a_cache_and_an_export_in_one_sentence(
    trained: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What safetensors raises there is no OSError."""
    from safetensors import SafetensorError

    model, settings, whole = trained

    def full(tensors: Any, path: Path, *_: Any) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("trainer.data.cache.save_file", full)
    assert main(["train", str(settings), "--model", str(model), "--out", str(tmp_path / "run")]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: No space is left on the disk for {tmp_path / 'run' / 'cache'}")
    assert not [path for path in (tmp_path / "run" / "cache").rglob("*") if path.is_file()]

    def full_file(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.export._write", full_file)
    out = tmp_path / "exported" / "o.safetensors"
    assert main(["export", str(whole), "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert said == f"error: No space is left on the disk for {out}: make room; nothing was written.\n"
    assert not any(out.parent.iterdir())
