"""A run goes on with what it began with, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainer.run.train as training
from trainer.commands.cli import main
from trainer.run.run_folder import Start, claim_run_folder, read_start
from trainer.settings import load_settings


def test_a_run_over_several_checkpoints_goes_on_over_the_same_in_their_order(tmp_path: Path) -> None:
    settings, began = load_settings("mini"), Start("mini", ["whole.pth", "lora.safetensors"], 1)
    claim_run_folder(tmp_path, began, settings, resume=False)
    assert read_start(tmp_path) == began
    claim_run_folder(tmp_path, began, settings, resume=True)
    for other in (["lora.safetensors", "whole.pth"], "whole.pth", None):
        with pytest.raises(ValueError, match="was begun with checkpoint"):
            claim_run_folder(tmp_path, Start("mini", other, 1), settings, resume=True)


@pytest.mark.parametrize(
    ("given", "taken"),
    [((), None), (("a.pth",), "a.pth"), (("a.pth", "b.safetensors"), ["a.pth", "b.safetensors"])],
    ids=["none", "one", "several"],
)
def test_checkpoints_are_laid_over_as_many_as_are_given(
    given: tuple[str, ...], taken: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Reached(Exception):
        pass

    def load(model: str, checkpoint: object, *_: object) -> None:
        seen.append(checkpoint)
        raise Reached

    monkeypatch.setattr(training, "load_trainable", load)
    monkeypatch.setattr(training, "open_sources", lambda *_: [])
    options = [option for path in given for option in ("--checkpoint", path)]
    assert main(["train", "mini", "--model", "mini", "--out", str(tmp_path / "run"), *options]) == 1
    assert seen == [tuple(map(Path, given))]
    assert read_start(tmp_path / "run").checkpoint == taken
