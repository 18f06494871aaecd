"""Presets hold the published constants, and settings say in a sentence what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.miniatures import write_ref_davis17, write_ref_ytvos, write_refcoco
from trainer.commands.cli import main
from trainer.data.open import open_sources
from trainer.settings import PRESETS, SourceSettings, TrainSettings, dump_settings, load_settings

NO_DECAY = (".ln_", ".bn", ".bias", ".logit_scale", ".entropy_scale", "norm")
NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


def sources(settings: TrainSettings, stream: int) -> list[tuple[str, str | None, str, bool, int | None]]:
    return [
        (each.kind, each.name, each.root.name, each.pseudo_video, each.max_samples)
        for each in settings.streams[stream].sources
    ]


def images(pseudo_video: bool = False, max_samples: int | None = None) -> list[tuple]:
    names = ("refcoco", "refcoco+", "refcocog")
    return [("refcoco", name, "refcoco", pseudo_video, max_samples) for name in names]


YTVOS = ("ref_ytvos", None, "ref_ytvos", False, None)


def check_adamw(settings: TrainSettings, lr: float) -> None:
    optim = settings.optim
    assert (optim.optimizer, optim.lr, optim.weight_decay) == ("adamw", lr, 1e-5)
    assert optim.no_decay == NO_DECAY
    assert (optim.betas, optim.eps) == ((0.9, 0.999), 1e-8)
    assert (settings.objective.supervision, settings.objective.timestep) == ("latent", 0)
    assert settings.ema is None


def test_there_is_a_preset_of_each_protocol():
    assert {"mini", "modelscope_stage1", "modelscope_stage2", "wan_14b", "wan_1_3b"} <= set(NAMES)


def test_the_help_of_train_names_every_preset_but_that_of_ablations(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = " ".join(capsys.readouterr().out.split()).partition(", or a .yaml")[0].split(" PRESET ")[-1]
    assert sorted(told.split(", ")) == [name for name in NAMES if name != "ablation_mini"]


def test_the_preset_for_mevis_is_the_protocol_of_14b_on_mevis_own_train_split():
    mevis, usual = (load_settings(name).model_dump(mode="json") for name in ("wan_14b_mevis", "wan_14b"))
    (source,) = mevis["streams"][1].pop("sources")
    assert (source["kind"], source["split"], Path(source["root"]).name) == ("mevis", "train", "mevis")
    (judged,) = mevis["evaluation"].pop("sources")
    assert (judged["kind"], judged["split"]) == ("mevis", "valid_u")
    del usual["streams"][1]["sources"], usual["evaluation"]["sources"]
    assert mevis == usual


@pytest.mark.parametrize("name", ["modelscope_stage1", "modelscope_stage2", "wan_14b", "wan_14b_mevis", "wan_1_3b"])
def test_presets_of_the_paper_evaluate_whole_videos_and_can_do_without_evaluating(name):
    assert load_settings(name).evaluate_videos
    assert load_settings(name, {"evaluation": None, "evaluate_every": None}).evaluation is None
    with pytest.raises(ValueError, match="evaluate_videos is for REM's own objective; set it to false"):
        load_settings(name, {"objective.supervision": "rgb"})


@pytest.mark.parametrize("name", ["wan_14b", "wan_1_3b"])
def test_wan_protocol_is_the_published_one(name):
    settings = load_settings(name)
    assert (settings.backbone, settings.size) == ("wan", (512, 512))
    assert (settings.steps, settings.epochs) == (80_000, None)
    assert [sources(settings, stream) for stream in (0, 1)] == [images(), [YTVOS]]
    assert [data.frames for data in settings.streams] == [1, 17]
    assert [data.batch for data in settings.streams] == [1, 1]
    assert settings.optim.schedule.model_dump() == {"kind": "steps", "at": ((3500, 0.1),)}
    assert settings.optim.clip_value is None and settings.optim.clip_norm is None
    assert settings.precision == "bf16" and settings.gradient_checkpointing
    assert settings.evaluate_every == 5000


def test_wan_14b_trains_all_but_the_embedders():
    settings = load_settings("wan_14b")
    check_adamw(settings, 1e-5)
    assert settings.frozen == ("patch_embedding", "condition_embedder")
    assert settings.lora is None and settings.optim.accumulate == 1 and settings.save_every == 5000


def test_wan_1_3b_makes_a_step_of_as_many_clips_on_one_gpu():
    settings = load_settings("wan_1_3b")
    assert settings.optim.accumulate == 6
    assert settings.lora is not None and settings.lora.rank == settings.lora.alpha


def test_modelscope_stage_1_is_the_published_one():
    settings = load_settings("modelscope_stage1")
    check_adamw(settings, 1e-5)
    assert (settings.backbone, settings.size, settings.precision) == ("modelscope", (512, 512), "float32")
    assert (settings.steps, settings.epochs) == (None, 1)
    assert sources(settings, 0) == images() and len(settings.streams) == 1
    assert (settings.streams[0].frames, settings.streams[0].batch) == (1, 4)
    assert settings.frozen == ("temp", "time_embedding")
    assert settings.optim.schedule.kind == "constant" and settings.optim.clip_value == 0.1


def test_modelscope_stage_2_is_the_published_one():
    settings = load_settings("modelscope_stage2")
    check_adamw(settings, 1e-6)
    assert (settings.backbone, settings.size, settings.precision) == ("modelscope", (512, 512), "float32")
    assert (settings.steps, settings.epochs) == (None, 40)
    assert sources(settings, 0) == [*images(pseudo_video=True, max_samples=4000), YTVOS]
    assert (settings.streams[0].frames, settings.streams[0].batch) == (8, 1)
    assert settings.frozen == ("time_embedding",)
    assert settings.optim.schedule.kind == "constant" and settings.optim.clip_value == 0.1


def test_mini_trains_rem_mini_on_rendered_shots():
    from rem_engine.backbones.base import WAN
    from rem_engine.backbones.configuration import read_defaults
    from rem_engine.backbones.load import MINI_FOLDER
    from trainer.mini.settings import MiniSettings

    settings, own, card = load_settings("mini"), MiniSettings(), read_defaults(MINI_FOLDER, WAN)
    assert settings.size == card["default_size"] and settings.streams[0].frames == card["default_window"]
    assert settings.streams[0].sources[0].kind == "synth"
    assert (settings.steps, settings.seed) == (own.rem_steps, own.seed)
    assert settings.optim.optimizer == "muon"


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_preset_reads_back_the_same(name, tmp_path):
    settings = load_settings(name, {"data_root": "/data"})
    copy = tmp_path / "settings.yaml"
    copy.write_text(dump_settings(settings))
    assert load_settings(copy) == settings
    assert all(source.root.is_relative_to("/data") for data in settings.streams for source in data.sources)


@pytest.mark.parametrize("name", ["wan_14b", "wan_1_3b", "modelscope_stage1", "modelscope_stage2"])
def test_presets_open_the_datasets_in_their_published_layouts(name, tmp_path):
    write_refcoco(tmp_path / "refcoco")
    write_ref_ytvos(tmp_path / "ref_ytvos")
    write_ref_davis17(tmp_path / "ref_davis17")
    settings = load_settings(name, {"data_root": str(tmp_path)})
    for data in (*settings.streams, settings.evaluation):
        source = open_sources(data, settings.size)
        sample = source.read(0, data.frames, np.random.default_rng(0))
        assert sample.frames.shape == (data.frames, *settings.size, 3)


def test_settings_are_overridden_by_dotted_name():
    settings = load_settings("wan_14b", {"optim.lr": "2e-5", "streams.1.batch": "2", "frozen": "[]", "ema": 0.99})
    assert (settings.optim.lr, settings.streams[1].batch, settings.frozen, settings.ema) == (2e-5, 2, (), 0.99)
    lora = load_settings("wan_14b", {"lora.rank": "8", "lora.alpha": "8", "lora.targets": "[to_q]"}).lora
    assert lora is not None and lora.targets == ("to_q",)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"optim.learning_rate": "1e-5"}, "there is no setting optim.learning_rate"),
        ({"optim.lr": "fast"}, "the setting optim.lr is 'fast'"),
        ({"optim.lr": "-1"}, "greater than 0"),
        ({"optim": "null"}, "the setting optim is None, but a group of settings is expected"),
        ({"size": "512"}, "the setting size is 512, but a list is expected"),
        ({"size": "[500, 500]"}, "multiples of 16"),
        ({"streams.1.frames": "8"}, "4k+1"),
        ({"streams.2.batch": "1"}, "streams.2.batch"),
        ({"streams.0.sources.0.kind": "coco"}, "'refcoco', 'ref_ytvos'"),
        ({"streams.0.sources.0.rooot": "x"}, "streams.0.sources.0.rooot"),
        ({"optim.schedule.kind": "linear"}, "the setting optim.schedule"),
        ({"optim.schedule.at": "[[9, 0.1], [5, 0.2]]"}, "steps must ascend"),
        ({"optim.clip_value": "0.1", "optim.clip_norm": "1"}, "clip_value or clip_norm"),
        ({"optim.vector_lr": "1e-3"}, "muon"),
        ({"optim.optimizer": "muon"}, "vector_lr"),
        ({"epochs": "3"}, "steps or epochs"),
        ({"evaluation": "null"}, "evaluate_every and evaluation"),
        ({"backbone": "modelscope"}, "gradient_checkpointing is for wan"),
        ({"optim.lr.peak": "1"}, "no setting optim.lr.peak"),
        ({"seed": "["}, "not valid YAML"),
        ({"seed": "2020-99-99"}, "not valid YAML"),
        ({"seed": "9" * 5000}, "not valid YAML"),
        ({"seed": "[" * 5000}, "not valid YAML"),
        (
            {"seed": "4294967296"},
            "seed is 4294967296, but input should be less than or equal to 4294967295",
        ),
        ({"steps": str(10**30)}, "the setting steps is"),
        ({"size": "[65536, 65536]"}, "less than or equal to 4096"),
        ({"streams.0.frames": "1000000001"}, "less than or equal to 1001"),
        ({"optim.lr": "1e400"}, "the setting optim.lr is '1e400'"),
        ({"streams.²": "1"}, "'²' is none of the"),
        ({"size": f"[&a [{'x, ' * 500}], *a, *a]"}, "the setting size"),
    ],
)
def test_wrong_setting_gives_one_sentence_that_names_it(overrides, says):
    with pytest.raises(ValueError) as caught:
        load_settings("wan_14b", overrides)
    message = str(caught.value)
    assert says in message and "\n" not in message and message.endswith(".")


def test_missing_setting_is_named(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("backbone: wan\n")
    with pytest.raises(ValueError, match=r"own\.yaml: the setting size is missing"):
        load_settings(path)
    path.write_text("- wan\n")
    with pytest.raises(ValueError, match="holds no settings"):
        load_settings(path)
    path.write_text("backbone: [wan\n")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_settings(path)


def test_unknown_preset_lists_the_known_ones(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="mini, modelscope_stage1, modelscope_stage2, wan_14b, wan_14b_mevis, wan_1_3b"
    ):
        load_settings("wan_7b")
    with pytest.raises(FileNotFoundError, match="no settings at"):
        load_settings(tmp_path / "none.yaml")


def test_settings_cannot_be_changed_once_read():
    settings = load_settings("mini")
    with pytest.raises(ValueError):
        settings.seed = 2
    assert SourceSettings(kind="folder", root=Path("x")).weight == 1.0


def test_a_value_that_aliases_make_endless_is_shown_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    lists = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10))
    path.write_text(f"a0: &a0 [x, x]\n{lists}backbone: *a9\n")
    with pytest.raises(ValueError, match=r"the setting backbone is \[\[\[") as told:
        load_settings(path)
    assert len(str(told.value)) < 300


def test_settings_without_end_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with open(tmp_path / "settings.yaml", "wb") as file:
        file.truncate(2**40)  # of which the disk holds nothing
    with pytest.raises(ValueError, match="settings.yaml is not valid YAML .it is longer than 1 MB."):
        load_settings(tmp_path / "settings.yaml")
