"""Promises of the training loop: what it computes, and that no way of stopping it changes what it computes."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from runs import FRAMES, SIZE, curve, run, write_settings, write_shots
from safetensors.torch import load_file
from torch import Tensor

from rem_engine import load_segmenter
from rem_engine.metrics import boundary_accuracy, region_similarity
from trainer.commands.cli import main
from trainer.data.fingerprint import tensor_hash
from trainer.data.loader import Loader
from trainer.data.open import KINDS, Kind, open_datasets, open_sources
from trainer.data.sample import BrokenSample
from trainer.model.trainable import load_trainable
from trainer.run.checkpoint import AVERAGE_FILE, DENOISER_FILE, Checkpoints, read_progress
from trainer.run.distributed import new_accelerator
from trainer.run.train import TrainingRun, train
from trainer.run.whole_videos import WholeVideos
from trainer.settings import load_settings
from trainer.synth.backgrounds import procedural
from trainer.synth.write import write_split

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
ROUNDING = 2e-5
"""Of weights moved by 1e-3 a step: Adam divides gradients by their size, so that the rounding of small ones shows."""
EPS = 1e-6
"""Of Adam, where two ways of computing a gradient are compared: the rounding of the smallest shows less."""


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shots(tmp_path_factory.mktemp("shots") / "train")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.fixture(scope="module")
def uninterrupted(tiny_wan: Path, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Settings of a run with an average, and all it ends with."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    settings = write_settings(folder / "settings.yaml", shots, ema=0.9)
    run(tiny_wan, settings, folder / "run")
    return settings, everything(folder / "run")


def everything(out: Path) -> dict[str, Tensor]:
    """Weights, average and the optimizer's state in a run's last checkpoint."""
    last = Checkpoints(out / "checkpoints", 1).latest()
    state = torch.load(last / "optimizer.bin", weights_only=True)["state"]
    moments = {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}
    average = {f"average.{name}": value for name, value in load_file(last / AVERAGE_FILE).items()}
    return load_file(last / DENOISER_FILE) | average | moments


def test_the_loop_takes_the_steps_of_a_plain_torch_loop(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    """The same steps by diffusers' classes and torch alone, with groups, schedule and clipping written out."""
    schedule = {"kind": "steps", "at": [[2, 0.1]]}
    changes = {"steps": 3, "optim__schedule": schedule, "optim__clip_norm": 0.5, "optim__eps": EPS}
    settings = write_settings(tmp_path / "s.yaml", shots, **changes)
    trained = run(tiny_wan, settings, tmp_path / "run")

    read = load_settings(settings)
    batches = Loader([open_sources(read.streams[0])], read, range(3))
    backbone = load_segmenter(tiny_wan).backbone
    vae, model = backbone.vae, backbone.transformer
    mean, std = (
        torch.tensor(value).view(1, 16, 1, 1, 1) for value in (vae.config.latents_mean, vae.config.latents_std)
    )

    def encode(pixels: np.ndarray) -> Tensor:
        clip = torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 0, 1, 2), np.float32))[None]
        with torch.no_grad():
            return (vae.encode(clip).latent_dist.mode() - mean) / std

    named = {n: p for n, p in model.named_parameters() if "patch_embedding" not in n and "condition_embedder" not in n}
    for parameter in named.values():
        parameter.requires_grad_(True)
    plain = [p for n, p in named.items() if n.endswith(".bias") or ".bias" in n or "norm" in n]
    decayed = [p for p in named.values() if not any(p is other for other in plain)]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 1e-2}]
    optimizer = torch.optim.AdamW(groups, eps=EPS)
    for step, batch in enumerate(batches):
        loss = 0.0
        for sample in batch.samples:
            video = encode(sample.frames / 127.5 - 1)
            target = encode(np.repeat(sample.masks[..., None], 3, axis=3))
            rows = backbone.encode_text(sample.text)[None]
            predicted = model(video, torch.zeros(1), rows).sample
            loss = loss + F.mse_loss(predicted, target) / len(batch.samples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(named.values(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 if step < 2 else 1e-4
        optimizer.step()
        assert curve(tmp_path / "run")[step] == pytest.approx(loss.item(), rel=1e-5)
    assert largest_difference(trained, {name: value.detach() for name, value in named.items()}) < ROUNDING


_KILLED = """
import os, signal, sys
from pathlib import Path
from trainer.run import train as training, training_log
from trainer.settings import load_settings

settings, model, out, moment, resume = sys.argv[1:]

def die(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "between":  # after step 3; checkpoints are of 2, 4 and 6
    taken = training_log.TrainingLog.step
    def step(self, number, figures):
        taken(self, number, figures)
        if number == 2:
            die()
    training_log.TrainingLog.step = step
elif moment == "writing":  # the checkpoint of step 4, when its weights are there and its optimizer's state is not
    import accelerate.checkpointing as writing
    kept = writing.save
    def save(state, path, *arguments, **options):
        if "00000004" in str(path) and "optimizer" in str(path):
            die()
        kept(state, path, *arguments, **options)
    writing.save = save
training.train(training.TrainingRun(load_settings(settings), model, Path(out), resume=resume == "resume"))
"""


def test_a_killed_run_resumes_to_the_same_weights(tiny_wan: Path, uninterrupted: tuple, tmp_path: Path) -> None:
    """Killed between two checkpoints, then again while one is written; all of the state is equal bit by bit."""
    settings, expected = uninterrupted
    out = tmp_path / "run"
    for moment, resume in (("between", "anew"), ("writing", "resume")):
        arguments = [sys.executable, "-c", _KILLED, settings, tiny_wan, out, moment, resume]
        killed = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert Checkpoints(out / "checkpoints", 1).latest().name == "00000002"
    (left,) = (out / "checkpoints").glob(".00000004.*.tmp")  # what the second kill left half-written
    assert left.is_dir()
    run(tiny_wan, settings, out, resume=True)
    assert same(everything(out), expected)
    assert not list((out / "checkpoints").glob(".*"))
    assert sorted(curve(out)) == list(range(6))


def test_ctrl_c_saves_the_step_and_says_how_to_go_on(
    tiny_wan: Path, uninterrupted: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, expected = uninterrupted
    out, handler = tmp_path / "run", signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        taken = torch.optim.AdamW.step
        steps = []

        def step(self: torch.optim.AdamW, *arguments: object) -> object:
            steps.append(1)
            if len(steps) == 2:
                signal.raise_signal(signal.SIGINT)
            return taken(self, *arguments)

        patched.setattr(torch.optim.AdamW, "step", step)
        with pytest.raises(KeyboardInterrupt, match=r"stopped at step 3 of 6.*--resume"):
            run(tiny_wan, settings, out)
    assert Checkpoints(out / "checkpoints", 1).latest().name == "00000003"
    assert signal.getsignal(signal.SIGINT) is handler
    run(tiny_wan, settings, out, resume=True)
    assert same(everything(out), expected)


def test_accumulated_batches_make_one_larger_batch(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    changes = {"steps": 2, "optim__eps": EPS}
    whole = write_settings(tmp_path / "whole.yaml", shots, **changes)
    parts = write_settings(tmp_path / "parts.yaml", shots, **changes, streams__0__batch=1, optim__accumulate=2)
    one, two = run(tiny_wan, whole, tmp_path / "whole"), run(tiny_wan, parts, tmp_path / "parts")
    assert curve(tmp_path / "parts") == pytest.approx(curve(tmp_path / "whole"), rel=1e-5)
    assert largest_difference(one, two) < ROUNDING


def test_the_average_is_the_moving_average_of_the_weights(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "s.yaml", shots, steps=3, ema=0.2, save_every=1, keep_last=3)
    run(tiny_wan, settings, tmp_path / "run")
    steps = [load_file(tmp_path / "run" / "checkpoints" / f"{n:08d}" / DENOISER_FILE) for n in (1, 2, 3)]
    kept = load_file(tmp_path / "run" / "checkpoints" / "00000003" / AVERAGE_FILE)
    began = dict(load_segmenter(tiny_wan).backbone.transformer.named_parameters())
    for name, value in kept.items():
        expected = began[name].detach()
        for number, weights in enumerate(steps):
            decay = min(0.2, (1 + number) / (10 + number))
            expected = decay * expected + (1 - decay) * weights[name]
        assert torch.allclose(value, expected, rtol=0, atol=1e-6)


def test_caches_change_nothing(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "s.yaml", shots, steps=3)
    cached = run(tiny_wan, settings, tmp_path / "cached")
    assert same(cached, run(tiny_wan, settings, tmp_path / "encoded", cached=False))
    assert same(cached, run(tiny_wan, settings, tmp_path / "shared", cache=tmp_path / "cached" / "cache"))


def test_gradient_checkpointing_changes_no_gradient(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    plain = run(tiny_wan, write_settings(tmp_path / "a.yaml", shots, steps=2), tmp_path / "a")
    settings = write_settings(tmp_path / "b.yaml", shots, steps=2, gradient_checkpointing=True)
    assert largest_difference(plain, run(tiny_wan, settings, tmp_path / "b")) < ROUNDING


def test_frozen_weights_stay_and_are_not_stored(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    trained = run(tiny_wan, write_settings(tmp_path / "s.yaml", shots, steps=1), tmp_path / "run")
    assert trained
    assert not any("patch_embedding" in name or "condition_embedder" in name for name in trained)


def test_the_last_checkpoints_and_the_best_stay(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.3, 0.7, 0.5, 0.6])
    monkeypatch.setattr("trainer.run.train.mean_j", lambda *arguments: next(scores))
    held_out = {"sources": [{"kind": "synth", "root": str(shots)}], "frames": FRAMES, "batch": 2}
    changes = {"steps": 8, "keep_last": 2, "evaluate_every": 2, "evaluation": held_out}
    run(tiny_wan, write_settings(tmp_path / "s.yaml", shots, **changes), tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["00000004", "00000006", "00000008"]
    best = Checkpoints(tmp_path / "run" / "checkpoints", 2).best()
    assert (best.name, read_progress(best).score) == ("00000004", 0.7)
    assert curve(tmp_path / "run", "J")[3] == pytest.approx(0.7)


def test_an_evaluation_that_fails_costs_no_steps(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> float:
        raise ValueError("No sample of the evaluation can be read")

    held_out = {"sources": [{"kind": "synth", "root": str(shots)}], "frames": FRAMES, "batch": 2}
    changes = {"steps": 4, "evaluate_every": 2, "save_every": 100, "evaluation": held_out}
    settings = write_settings(tmp_path / "s.yaml", shots, **changes)
    monkeypatch.setattr("trainer.run.train.mean_j", fails)
    with pytest.raises(ValueError, match="No sample of the evaluation"):
        run(tiny_wan, settings, tmp_path / "run")
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert saved.name == "00000002"
    monkeypatch.setattr("trainer.run.train.mean_j", lambda *arguments: 0.5)
    resumed = run(tiny_wan, settings, tmp_path / "run", resume=True)
    assert same(resumed, run(tiny_wan, settings, tmp_path / "whole"))


def test_bad_held_out_samples_are_found_before_the_first_step_and_left_out_where_that_is_asked_for(
    tiny_wan: Path, shots: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of clips that are drawn anew each time, so that no cache is made of them."""
    held = write_shots(tmp_path / "held", 2)
    masks = sorted((held / "train" / "alpha").rglob("*.png"))
    masks[0].write_bytes(b"")
    named = open_sources(load_settings(write_settings(tmp_path / "o.yaml", held)).streams[0])
    bad = [i for i in range(len(named)) if masks[0] in named.files(i)]
    assert 0 < len(bad) < len(named)
    for policy in ("refuse", "skip"):
        held_out = {"sources": [{"kind": "synth", "root": str(held)}], "frames": FRAMES, "batch": 2}
        changes = {"evaluate_every": 1, "evaluation": {**held_out, "on_broken": policy}, "steps": 2}
        settings, out = write_settings(tmp_path / f"{policy}.yaml", shots, **changes), tmp_path / policy
        if policy == "refuse":
            with pytest.raises(BrokenSample, match=masks[0].name):
                run(tiny_wan, settings, out, cached=False)
            assert not (out / "checkpoints").exists()
        else:
            run(tiny_wan, settings, out, cached=False)
            assert read_progress(Checkpoints(out / "checkpoints", 1).latest()).score is not None
            assert sum(masks[0].name in record.message for record in caplog.records) == 1  # of three looks


def test_held_out_data_of_which_nothing_can_be_read_is_found_before_the_first_step(
    tiny_wan: Path, shots: Path, tmp_path: Path
) -> None:
    held = write_shots(tmp_path / "held", 1)
    for picture in held.rglob("*.jpg"):
        picture.write_bytes(b"")
    held_out = {"sources": [{"kind": "synth", "root": str(held)}], "frames": FRAMES, "batch": 2, "on_broken": "skip"}
    settings = write_settings(tmp_path / "s.yaml", shots, evaluate_every=2, evaluation=held_out)
    with pytest.raises(ValueError, match="No sample of the evaluation can be read"):
        run(tiny_wan, settings, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_evaluation_is_the_mean_j_of_the_engine_s_masks(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    """Judged by the average's weights, as they are exported, on clips that fill no whole number of batches."""
    held_out = {"sources": [{"kind": "synth", "root": str(shots), "max_samples": 5}], "frames": FRAMES, "batch": 3}
    changes = {"steps": 2, "evaluate_every": 2, "evaluation": held_out, "ema": 0.5}
    settings = write_settings(tmp_path / "s.yaml", shots, **changes)
    run(tiny_wan, settings, tmp_path / "run")

    last = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    segmenter = load_segmenter(tiny_wan, size=(SIZE, SIZE), window=FRAMES, overlap=0, cuts=())
    segmenter.backbone.transformer.load_state_dict(load_file(last / AVERAGE_FILE), strict=False)
    source, scores = open_sources(load_settings(settings).evaluation), []
    for index in range(len(source)):
        sample = source.read(index, FRAMES, np.random.default_rng(0))
        masks = segmenter.segment(sample.frames, [sample.text]).masks()[0].numpy()
        union = (masks | sample.masks).sum(axis=(1, 2))
        both = (masks & sample.masks).sum(axis=(1, 2))
        scores.append(np.where(union > 0, both / np.maximum(union, 1), 1.0).mean())
    assert read_progress(last).score == pytest.approx(np.mean(scores), abs=1e-3)


def test_whole_videos_are_scored_as_the_engine_segments_them_and_held_out_samples_are_shown(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """J and F of all frames of longer videos than the clips, at their own size, by the protocol `paper`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_split(tmp_path / "held", 2, 5, procedural, frames=11, height=40, width=56, unseen=False)
    held_out = {"sources": [{"kind": "synth", "root": str(tmp_path / "held"), "max_samples": 3}], "frames": FRAMES}
    changes = {"steps": 1, "evaluate_every": 1, "evaluation": {**held_out, "batch": 2}, "evaluate_videos": True}
    settings = write_settings(tmp_path / "s.yaml", shots, **changes)
    opened: list[Path] = []
    open_ = KINDS["synth"].open
    counting = Kind(lambda of, broken: (opened.append(of.root), open_(of, broken))[1], has_splits=False)
    monkeypatch.setitem(KINDS, "synth", counting)
    run(tiny_wan, settings, tmp_path / "run")
    assert len(opened) == len(set(opened)) == 2  # to train on, and held out: each is opened once
    monkeypatch.undo()

    last = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    segmenter = load_segmenter(tiny_wan, size=(SIZE, SIZE), protocol="paper")
    segmenter.backbone.transformer.load_state_dict(load_file(last / DENOISER_FILE), strict=False)
    source, scores = open_sources(load_settings(settings).evaluation), []
    for index in range(len(source)):
        video = source.read(index, 11, np.random.default_rng(0))
        assert video.frames.shape == (11, 40, 56, 3)
        masks = segmenter.segment(video.frames, [video.text]).masks()[0].numpy()
        scores.append([f(masks, video.masks).mean() for f in (region_similarity, boundary_accuracy)])
    assert read_progress(last).score == pytest.approx(np.mean(scores), abs=2e-3)
    log = EventAccumulator(str(tmp_path / "run" / "logs"))
    log.Reload()
    for name, column in (("J", 0), ("F", 1)):
        assert log.Scalars(name)[0].value == pytest.approx(np.mean(scores, axis=0)[column], abs=2e-3)
    (picture,) = log.Images("held out: frame, prediction, target")
    assert (picture.height, picture.width) == (3 * SIZE, 3 * SIZE)


def test_a_window_of_a_whole_video_is_encoded_once_for_all_sentences_about_it(
    tiny_wan: Path, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_split(tmp_path / "held", 2, 5, procedural, frames=11, height=40, width=56, unseen=False)
    held_out = {"sources": [{"kind": "synth", "root": str(tmp_path / "held")}], "frames": FRAMES, "batch": 1}
    changes = {"evaluate_every": 1, "evaluation": held_out, "evaluate_videos": True}
    settings = load_settings(write_settings(tmp_path / "s.yaml", shots, **changes))
    trainable = load_trainable(tiny_wan, (), settings, torch.device("cpu"))
    encode, encoded = trainable.backbone.encode_video, []
    monkeypatch.setattr(
        trainable.backbone, "encode_video", lambda frames: (encoded.append(tensor_hash(frames)), encode(frames))[1]
    )
    whole = WholeVideos(settings.evaluation, open_datasets(settings.evaluation))
    whole.score(new_accelerator(settings), trainable, settings, None)
    assert len(open_sources(settings.evaluation)) > 2  # sentences about two videos
    assert len(encoded) == len(set(encoded)) > 1


def test_a_picture_shows_frame_prediction_and_target(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tiny_wan, write_settings(tmp_path / "s.yaml", shots, steps=2), tmp_path / "run")
    log = EventAccumulator(str(tmp_path / "run" / "logs"))
    log.Reload()
    (picture,) = log.Images(log.Tags()["images"][0])
    assert (picture.height, picture.width) == (3 * SIZE, 2 * SIZE)


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_checkpoint(
    tiny_wan: Path, shots: Path, tmp_path: Path
) -> None:
    schedule = {"kind": "steps", "at": [[4, 1e30]]}
    settings = write_settings(tmp_path / "s.yaml", shots, optim__schedule=schedule)
    with pytest.raises(RuntimeError, match=r"The (loss|gradient) of step 6 is (nan|inf).*00000004"):
        run(tiny_wan, settings, tmp_path / "run")
    last = Checkpoints(tmp_path / "run" / "checkpoints", 1).latest()
    assert last.name == "00000004"
    assert all(value.isfinite().all() for value in load_file(last / DENOISER_FILE).values())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optim__lr": 2e-3, "seed": 5}, r"begun with optim\.lr = 0\.001 and this command gives 0\.002"),
        ({"streams__0__batch": 1}, r"streams\.0\.batch = 2 and this command gives 1; with 2 clips in a step"),
        ({"steps": 8}, r"steps = 6 and this command gives 8; --extend"),
    ],
)
def test_another_command_does_not_go_on_with_a_run(
    changes: dict, sentence: str, tiny_wan: Path, uninterrupted: tuple, shots: Path, tmp_path: Path
) -> None:
    settings, _ = uninterrupted
    changed = write_settings(tmp_path / "s.yaml", shots, ema=0.9, **changes)
    with pytest.raises(ValueError, match=sentence):
        run(tiny_wan, changed, settings.parent / "run", resume=True)
    with pytest.raises(ValueError, match="holds a run already.*--resume"):
        run(tiny_wan, settings, settings.parent / "run")


def test_an_extended_run_is_the_run_that_was_longer_from_the_start(
    tiny_wan: Path, uninterrupted: tuple, shots: Path, tmp_path: Path
) -> None:
    """At a constant rate, bit by bit; and saved at other steps, which changes nothing either."""
    longer = write_settings(tmp_path / "s.yaml", shots, ema=0.9, steps=8, save_every=3)
    run(tiny_wan, longer, tmp_path / "whole")
    out = tmp_path / "run"
    shutil.copytree(uninterrupted[0].parent / "run", out)
    run(tiny_wan, longer, out, resume=True, extend=True)
    assert same(everything(out), everything(tmp_path / "whole"))
    assert sorted(curve(out)) == list(range(8))


def test_bfloat16_computes_with_float32_weights(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    """Updates of a thousandth of a bfloat16 step are kept, and losses stay near those of float32."""
    from accelerate.state import AcceleratorState

    changes = {"steps": 2, "optim__lr": 1e-6, "optim__weight_decay": 0.0}
    AcceleratorState._reset_state(reset_partial_state=True)  # the precision of a process is chosen once
    try:
        half = run(
            tiny_wan, write_settings(tmp_path / "half.yaml", shots, precision="bf16", **changes), tmp_path / "half"
        )
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    run(tiny_wan, write_settings(tmp_path / "whole.yaml", shots, **changes), tmp_path / "whole")
    losses = curve(tmp_path / "half")
    assert losses == pytest.approx(curve(tmp_path / "whole"), rel=0.02)
    assert losses != curve(tmp_path / "whole")
    began = dict(load_segmenter(tiny_wan).backbone.transformer.named_parameters())
    moved = [(value - began[name].detach()).abs() for name, value in half.items()]
    assert all(value.dtype == torch.float32 for value in half.values())
    assert 1e-7 < max(change.max().item() for change in moved) < 5e-6


def test_the_command_trains_and_says_how_to_go_on(
    tiny_wan: Path, shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, out = write_settings(tmp_path / "s.yaml", shots), tmp_path / "run"
    command = ["train", str(settings), "--model", str(tiny_wan), "--out", str(out), "--set", "steps=1"]
    assert main(command) == 0
    assert "python -m trainer export" in capsys.readouterr().out
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "optim.lr=1", "--resume"]) == 2
    assert "optim.lr = 0.001 and this command gives 1.0" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


def test_epochs_count_passes_through_the_first_stream(tiny_wan: Path, shots: Path, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "s.yaml", shots, steps=None, epochs=2, streams__0__batch=3)
    samples = len(open_sources(load_settings(settings).streams[0]))
    train(TrainingRun(load_settings(settings), str(tiny_wan), tmp_path / "run"))
    assert len(curve(tmp_path / "run")) == math.ceil(2 * samples / 3)


def test_modelscope_trains_and_resumes_alike(tiny_modelscope: Path, tmp_path: Path) -> None:
    """Its noise belongs to a step, not to what ran before."""
    size = 64
    from trainer.synth.backgrounds import procedural
    from trainer.synth.write import write_split

    write_split(tmp_path / "shots", 2, 1, procedural, frames=2, height=size, width=size, unseen=False)
    changes = {"backbone": "modelscope", "size": [size, size], "streams__0__frames": 2, "frozen": ["time_embedding"]}
    changes |= {"optim__clip_value": 0.1, "steps": 3}
    settings = write_settings(tmp_path / "s.yaml", tmp_path / "shots", **changes)
    expected = run(tiny_modelscope, settings, tmp_path / "whole")
    out = tmp_path / "stopped"
    os.makedirs(out)
    run(tiny_modelscope, settings, out)
    last = out / "checkpoints" / "00000003"
    assert same(load_file(last / DENOISER_FILE), expected)
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    assert same(run(tiny_modelscope, settings, out, resume=True), expected)
