"""A run goes on with what it began with, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import trainer.run.train as training
from trainer.commands.cli import main
from trainer.run.run_folder import (
    SETTINGS_FILE,
    Start,
    check_samples,
    claim_run_folder,
    read_settings,
    read_start,
)
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
    monkeypatch.setattr(training, "open_datasets", lambda *_: ())
    monkeypatch.setattr(training, "open_sources", lambda *_: SimpleNamespace(parts=()))
    options = [option for path in given for option in ("--checkpoint", path)]
    options += ["--set", "precision=float32"]  # of a process it is chosen once
    assert main(["train", "mini", "--model", "mini", "--out", str(tmp_path / "run"), *options]) == 1
    assert seen == [tuple(map(Path, given))]
    assert read_start(tmp_path / "run").checkpoint == taken


def begun(folder: Path, **overrides: object) -> None:
    settings = load_settings("mini", {name.replace("__", "."): value for name, value in overrides.items()})
    claim_run_folder(folder, Start("mini", None, 2), settings, resume=False)


def go_on(folder: Path, *, world_size: int = 2, extend: bool = False, **overrides: object) -> None:
    settings = load_settings("mini", {name.replace("__", "."): value for name, value in overrides.items()})
    claim_run_folder(folder, Start("mini", None, world_size), settings, resume=True, extend=extend)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"save_every": 10}, "save_every was 250 and is 10 from here on; it changes no weight."),
        ({"keep_last": 5}, "keep_last was 2 and is 5 from here on; it changes no weight."),
        ({"evaluate_every": 100}, "evaluate_every was 500 and is 100 from here on; it changes no weight."),
        ({"streams.0.workers": 7}, "streams.0.workers was 2 and is 7 from here on; it changes no weight."),
        ({"evaluation.batch": 3}, "evaluation.batch was 24 and is 3 from here on; it changes no weight."),
        ({"streams.0.on_broken": "skip"}, "streams.0.on_broken was refuse and is skip"),
        ({"data_root": "/moved"}, "streams.0.sources.0.root was data/synth/train and is /moved/synth/train"),
        ({"data_root": "/moved"}, "evaluation.sources.0.root was data/synth/heldout and is /moved/synth/heldout"),
        ({"evaluation": None, "evaluate_every": None}, "evaluation was on and is none from here on"),
    ],
)
def test_a_run_goes_on_with_what_changes_no_weight_and_says_so(
    change: dict, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path)
    go_on(tmp_path, **change)
    assert any(record.message.startswith(said) for record in caplog.records)
    assert read_settings(tmp_path) == load_settings("mini", change)  # kept, so that it is said once
    caplog.clear()
    go_on(tmp_path, **change)
    assert not caplog.records


def test_the_same_global_batch_may_come_from_another_number_of_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """24 clips on each of two: 48 on one, 12 on four, or 24 twice accumulated on one."""
    begun(tmp_path)
    for world_size, batch, accumulate in ((1, 48, 1), (4, 12, 1), (1, 24, 2), (2, 24, 1)):
        caplog.clear()
        go_on(tmp_path, world_size=world_size, **{"streams.0.batch": batch, "optim.accumulate": accumulate})
        assert any("the global batch is the same" in record.message for record in caplog.records)
        assert read_start(tmp_path).world_size == world_size
    for world_size, batch in ((1, 24), (3, 24), (2, 12)):
        with pytest.raises(ValueError, match=r"was begun with .*; with 48 clips in a step in all it could go on"):
            go_on(tmp_path, world_size=world_size, **{"streams.0.batch": batch})


def test_more_steps_and_another_schedule_are_asked_for_by_extend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path)
    longer = {"steps": 9000, "optim.schedule": {"kind": "constant"}}
    with pytest.raises(ValueError, match="begun with steps = 3200 and this command gives 9000; --extend goes on so"):
        go_on(tmp_path, **longer)
    assert read_settings(tmp_path).steps == 3200
    go_on(tmp_path, extend=True, **longer)
    assert "steps was 3200 and is 9000 from here on." in caplog.messages
    assert "optim.schedule.kind was cosine and is constant from here on." in caplog.messages
    assert read_settings(tmp_path).steps == 9000
    with pytest.raises(ValueError, match="is extended to more steps, and 10 are fewer than 9000"):
        go_on(tmp_path, extend=True, steps=10, **{"optim.schedule": {"kind": "constant"}})
    with pytest.raises(ValueError, match=r"begun with optim\.lr = 0\.02 and this command gives 0\.01; go on with"):
        go_on(tmp_path, extend=True, **longer, **{"optim.lr": 0.01})


@pytest.mark.parametrize(
    "change",
    [{"seed": 2}, {"ema": 0.9}, {"evaluation.frames": 5}, {"streams.0.frames": 5}, {"streams.0.sources.0.weight": 2}],
    ids=str,
)
def test_what_changes_the_result_is_refused(change: dict, tmp_path: Path) -> None:
    begun(tmp_path)
    before = (tmp_path / SETTINGS_FILE).read_bytes()
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{tmp_path} was begun with {name} = .* and this command gives {value}"):
        go_on(tmp_path, extend=True, **change)
    assert (tmp_path / SETTINGS_FILE).read_bytes() == before


def test_data_that_hold_other_samples_than_before_are_refused_moved_or_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path)
    check_samples(tmp_path, [10, 4], extend=False)
    go_on(tmp_path, save_every=3)
    check_samples(tmp_path, [10, 4], extend=False)
    with pytest.raises(ValueError, match=r"held \[10, 4\] samples when the run began, and hold \[11, 4\] now"):
        check_samples(tmp_path, [11, 4], extend=False)
    check_samples(tmp_path, [11, 4], extend=True)
    assert read_start(tmp_path).samples == [11, 4]
