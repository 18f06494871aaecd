"""The ablation's runs have equal budgets, are kept when done, go on when broken off, and are scored by the sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from trainer.ablation.cell import Cell, Mark, Record
from trainer.ablation.plan import SHOTS, Ablation, prepare
from trainer.ablation.questions import ask
from trainer.ablation.results import gather, read_results
from trainer.ablation.runs import ablate, cells_of
from trainer.ablation.sweep import SweepTask, read_sweep
from trainer.ablation.variants import VARIANTS
from trainer.commands.cli import main
from trainer.settings import load_settings

pytestmark = pytest.mark.slow


def flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {inner: found for key, each in value.items() for inner, found in flat(each, f"{name}.{key}").items()}


def test_a_variant_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    ablation = Ablation(tmp_path)
    rem = flat(ablation.settings("rem", 2).model_dump(mode="json"))
    for name, variant in VARIANTS.items():
        settings = flat(ablation.settings(name, 2).model_dump(mode="json"))
        changed = {key.removeprefix(".") for key in rem if rem[key] != settings[key]}
        assert changed == set(variant.overrides), name


def test_seeds_differ_in_the_seed_alone(tmp_path: Path) -> None:
    first, second = (flat(Ablation(tmp_path).settings("cnn", seed).model_dump(mode="json")) for seed in (1, 2))
    assert {key for key in first if first[key] != second[key]} == {".seed"}


def test_the_preset_departs_from_the_preset_mini_where_it_says_ours() -> None:
    presets = Path(__file__).parents[3] / "trainer" / "presets"
    ours, mini = (
        flat(yaml.safe_load((presets / f"{name}.yaml").read_text(encoding="utf-8")))
        for name in ("ablation_mini", "mini")
    )
    for name in (".optim.betas", ".optim.clip_norm", ".optim.schedule.kind", ".frozen"):
        assert ours[name] == mini[name], name


def test_a_run_that_is_trained_for_longer_is_the_same_run() -> None:
    """The rate does not know where a run ends, once it is warm."""
    from trainer.run.optim import schedule_factor

    optim = load_settings("ablation_mini").optim
    for step in (0, 7, 19, 20, 55, 99):
        assert schedule_factor(step, optim, 100) == schedule_factor(step, optim, 100_000)
    assert schedule_factor(20, optim, 100) == 1


def test_marks_are_doublings_of_the_first(tmp_path: Path) -> None:
    assert Ablation(tmp_path, first=10, seconds=100).marks == (10, 20, 40, 80)
    assert Ablation(tmp_path, first=10, seconds=5).marks == (10,)


def test_cells_are_run_seed_by_seed(tmp_path: Path) -> None:
    order = [(cell.variant, cell.seed) for cell in cells_of(Ablation(tmp_path, ("rem", "mlp"), seeds=2))]
    assert order == [("rem", 1), ("mlp", 1), ("rem", 2), ("mlp", 2)]


@pytest.mark.parametrize(
    ("tuning", "converged"),
    [
        ((0.1, 0.1, 0.1), False),
        ((0.1, 0.1, 0.1, 0.1), True),
        ((0.1, 0.2, 0.205, 0.215), True),
        ((0.1, 0.2, 0.21, 0.221), False),
        ((0.1, 0.3, 0.3, 0.2), True),
    ],
)
def test_a_run_has_converged_when_two_doublings_gain_less_than_a_fiftieth(
    tuning: tuple[float, ...], converged: bool
) -> None:
    marks = [Mark(10.0 * 2**i, 1, 1.0, 1.0, 0.5, j, {}, {}) for i, j in enumerate(tuning)]
    assert Record("rem", 1, 0.002, marks).converged is converged


RATES = (5e-4, 2e-3)
FEW = {"train": 3, "tuning": 2, "seen": 2, "unseen": 2}


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory, tiny_wan: Path) -> Ablation:
    """Of a tiny random model, whose rates have been tried already: 0.1 s a step."""
    out = tmp_path_factory.mktemp("ablation")
    small = Ablation(out, ("rem",), seeds=1, first=0.2, seconds=0.4, rates=RATES, model=str(tiny_wan), shots=FEW)
    small = replace(small, checkpoint=None)
    for rate, loss in zip(RATES, (0.1, 0.2)):
        path = SweepTask(small, "rem").folder / f"{rate:g}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"rate": rate, "steps": 10, "processor_seconds": 1.0, "loss": loss}))
    prepare(small)
    return small


@pytest.fixture(scope="module")
def done(ablation: Ablation) -> Record:
    cell = Cell(ablation, "rem", 1)
    cell.run()
    record = cell.record()
    assert record is not None
    return record


def test_the_best_rate_is_taken_and_steps_fill_the_marks(ablation: Ablation, done: Record) -> None:
    assert read_sweep(ablation, "rem").rate == done.rate == 5e-4
    assert [(mark.mark, mark.step) for mark in done.marks] == [(0.2, 2), (0.4, 4)]
    assert all(mark.processor_seconds > 0 for mark in done.marks)
    assert done.marks[1].processor_seconds > done.marks[0].processor_seconds


def test_one_sentence_of_each_shot_is_scored(ablation: Ablation, done: Record) -> None:
    for name in ("seen", "unseen"):
        details = json.loads((ablation.out / "data" / name / "synth.json").read_text())["videos"]
        said = [
            (video, spoken["text"], spoken["target"])
            for video, each in details.items()
            for spoken in each["expressions"]
        ]
        asked = ask(ablation.out / "data" / name)
        assert [question.shot for question in asked.values()] == list(details)
        for place, question in asked.items():
            video, text, target = said[place]
            assert (question.shot, question.text) == (video, text) and target is not None
            kind = details[video]["things"][target]["colour"] is None
            assert question.kind == ("process" if kind else "object")
        for mark in done.marks:
            assert len(mark.half[name]) == len(mark.tuned[name]) == FEW[name]
            assert all(0 <= value <= 1000 for value in (*mark.half[name], *mark.tuned[name]))


def test_a_run_that_was_broken_off_goes_on_to_the_same_scores(ablation: Ablation, done: Record) -> None:
    """It was killed after its last training and before that was scored, and has its first mark alone."""
    cell = Cell(ablation, "rem", 1)
    first = Record(done.variant, done.seed, done.rate, done.marks[:1])
    path = cell.folder / "record.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "marks": json.loads(whole)["marks"][:1]}))
    assert cell.record() == first and not cell.is_done()
    trained = cell.folder / "checkpoints" / "00000004"
    written = trained.stat().st_mtime_ns
    cell.run()
    assert cell.record() == done and cell.is_done() and trained.stat().st_mtime_ns == written


def test_results_are_read_back_as_they_were_written(ablation: Ablation, done: Record, tmp_path: Path) -> None:
    from trainer.ablation.report import write_report

    results = gather(ablation)
    assert results.records == [done] and results.sweeps[0].tried[1].loss == 0.2
    text = write_report(tmp_path, results)
    assert read_results(tmp_path / "results.json") == results
    assert (
        text == (tmp_path / "results.md").read_text()
        and "| REM: latent supervision, frozen VAE | 0.0005 | 0.4 | 4 | 1 |" in text
    )
    assert Image.open(tmp_path / "results.png").size[0] > 800


def test_another_number_of_shots_is_refused(ablation: Ablation) -> None:
    with pytest.raises(ValueError, match="holds 2 shots and 4 are wanted"):
        prepare(replace(ablation, shots={**FEW, "seen": 4}))


@pytest.mark.thorough
def test_rates_are_tried_and_then_all_is_run_in_processes(ablation: Ablation, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ablation.out / "data", target_is_directory=True)
    both = replace(ablation, out=tmp_path, variants=("rem", "flow"), jobs=2, sweep_seconds=0.1)
    ablate(both)
    results = gather(both)
    assert [sweep.variant for sweep in results.sweeps] == ["rem", "flow"]
    assert [len(sweep.tried) for sweep in results.sweeps] == [2, 2]
    assert {tried.steps for tried in results.sweeps[0].tried} == {results.sweeps[0].tried[0].steps}
    assert [(record.variant, len(record.marks)) for record in results.records] == [("rem", 2), ("flow", 2)]
    ablate(both)
    assert gather(both) == results


@pytest.mark.thorough
def test_a_failed_run_is_named_with_its_log(ablation: Ablation, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(ablation.out / "data", target_is_directory=True)
    other = replace(ablation, out=tmp_path)
    prepare(other)
    (tmp_path / "sweep").symlink_to(ablation.out / "sweep", target_is_directory=True)
    record = Cell(other, "rem", 1).folder / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    with pytest.raises(ValueError, match="record.json is damaged"):
        ablate(other)
    record.unlink()
    (record.parent / "settings.yaml").write_text("mine: true")
    with pytest.raises(RuntimeError, match="rem, seed 1 failed; .*log.txt says why"):
        ablate(other)
    assert "is of no run" in (record.parent / "log.txt").read_text()


def test_a_variant_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["ablate", "--out", str(tmp_path / "a"), "--variants", "rem,unet"]) == 2
    assert "There is no variant 'unet'; choose from rem, rgb" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_at_least_200_shots_are_scored() -> None:
    assert SHOTS["seen"] >= 200
