"""The ablation's runs have equal budgets, are kept when done, and are told with their spread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from benchmarks.ablation import Difference
from trainer.ablation.report import Figure, table, write_report
from trainer.ablation.runs import Ablation, AblationRun, ablate
from trainer.ablation.variants import VARIANTS
from trainer.commands.cli import main

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
    for name in (".optim.betas", ".optim.clip_norm", ".optim.schedule.warmup", ".optim.schedule.floor", ".frozen"):
        assert ours[name] == mini[name], name


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    out = tmp_path_factory.mktemp("ablation")
    return Ablation(out, variants=("rem", "features"), seeds=1, steps=2, jobs=2, train_shots=3, scored_shots=2)


@pytest.fixture(scope="module")
def results(ablation: Ablation) -> list[dict[str, Any]]:
    return ablate(ablation)


def test_every_variant_and_seed_is_trained_and_scored_on_both_splits(results: list[dict[str, Any]]) -> None:
    assert [(result["variant"], result["seed"], result["steps"]) for result in results] == [
        ("rem", 1, 2),
        ("features", 1, 2),
    ]
    for result in results:
        assert result["scores"].keys() == {"seen", "unseen"}
        assert all(0 <= result["scores"][split]["J"] <= 1 for split in ("seen", "unseen"))


@pytest.mark.thorough
def test_a_finished_run_is_kept_and_a_trained_one_is_only_scored(
    ablation: Ablation, results: list[dict[str, Any]]
) -> None:
    rem, features = (AblationRun(ablation, variant, 1).folder for variant in ablation.variants)
    kept = json.loads((rem / "result.json").read_text())
    kept["scores"]["seen"]["J"] = 0.123
    (rem / "result.json").write_text(json.dumps(kept))
    (features / "result.json").unlink()
    checkpoint = features / "checkpoints" / "00000002"
    written = checkpoint.stat().st_mtime_ns
    again = ablate(ablation)
    assert again[0]["scores"]["seen"]["J"] == 0.123
    assert again[1]["scores"] == results[1]["scores"] and checkpoint.stat().st_mtime_ns == written


def test_a_result_of_other_settings_is_refused(ablation: Ablation, results: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="result of other settings"):
        ablate(Ablation(ablation.out, ablation.variants, seeds=1, steps=5, train_shots=3, scored_shots=2))
    with pytest.raises(ValueError, match="holds 3 shots and 4 are wanted"):
        ablate(Ablation(ablation.out, ablation.variants, seeds=1, steps=2, train_shots=4, scored_shots=2))


@pytest.mark.thorough
def test_a_failed_run_is_named_with_its_log(ablation: Ablation, results: list[dict[str, Any]], tmp_path: Path) -> None:
    shots = next((ablation.out / "data" / "seen" / "train" / "JPEGImages").iterdir())
    other = Ablation(tmp_path, ("features",), seeds=1, steps=2, jobs=2, train_shots=3, scored_shots=2)
    (tmp_path / "data").symlink_to(ablation.out / "data", target_is_directory=True)
    aside = shots.with_name("aside")
    shots.rename(aside)
    try:
        with pytest.raises(RuntimeError, match="features, seed 1 failed; .*log.txt says why"):
            ablate(other)
    finally:
        aside.rename(shots)
    assert shots.name in (tmp_path / "features" / "seed1" / "log.txt").read_text()


def made_up(variant: str, seed: int, j: float) -> dict[str, Any]:
    best = {"J_best": j + 0.1, "J_processes_best": j / 2 + 0.1}
    scores = {"J": j, "J_processes": j / 2, "referring_accuracy": 1.0, **best}
    return {
        "variant": variant,
        "seed": seed,
        "train_seconds": 10.0 * seed,
        "scores": {"seen": scores, "unseen": scores},
    }


def test_the_spread_is_the_sample_deviation_over_seeds() -> None:
    assert str(Figure.of([0.1, 0.2, 0.6])) == "0.300 ± 0.265"
    assert str(Figure.of([0.5])) == "0.500"


def test_the_table_and_the_plot_show_every_variant(tmp_path: Path) -> None:
    results = [made_up("rem", 1, 0.4), made_up("rem", 2, 0.6), made_up("mlp", 1, 0.2)]
    text = write_report(tmp_path, results)
    assert text == (tmp_path / "results.md").read_text() == table(results)
    rem = "0.500 ± 0.141 | 0.500 ± 0.141 | 0.250 ± 0.071 | 1.000 ± 0.000 | 0.600 ± 0.141 | 0.350 ± 0.071 | 15"
    assert f"| REM: latent supervision, frozen VAE | {rem} |" in text
    assert "| MLP head | 0.200 | 0.200 | 0.100 | 1.000 | 0.300 | 0.200 | 10 |" in text
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert Image.open(tmp_path / "results.png").size[0] == 900


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((0.1, 0.2), "agrees (2 of 2 seeds)"),
        ((0.1, -0.2), "undecided (1 of 2 seeds)"),
        ((-0.1,), "disagrees (0 of 1 seed)"),
    ],
)
def test_a_difference_agrees_with_the_paper_where_every_seed_does(ours: tuple[float, ...], verdict: str) -> None:
    results = [made_up("rem", seed, 0.5 + value) for seed, value in enumerate(ours)]
    results += [made_up("cnn", seed, 0.5) for seed in range(len(ours))]
    difference = Difference.of(results, "rem", "cnn", "J, seen")
    assert difference.values == pytest.approx(ours) and difference.verdict(+3.9) == verdict
    assert Difference.of(results, "rem", "mlp", "J, seen").verdict(+4.2) == "open"


def test_a_variant_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["ablate", "--out", str(tmp_path / "a"), "--variants", "rem,unet"]) == 2
    assert "There is no variant 'unet'; choose from rem, rgb" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
