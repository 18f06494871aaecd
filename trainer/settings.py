"""Validated settings of a training run, read from a preset or a YAML file."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rem_engine.backbones.base import FAMILIES, LARGEST_SIDE, LONGEST_WINDOW, Family, FamilyKey
from rem_engine.input_files import check_is_file, load_text
from rem_engine.segment.settings import MAX_SEED

from .data.kinds import DatasetKind

PRESETS = Path(__file__).parent / "presets"

# What makes work or memory grow has an end.
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Frames = Annotated[int, Field(ge=1, le=LONGEST_WINDOW)]
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]

_SHOWN = 120  # letters of a value that is wrong

# What pydantic expects, in the words of a YAML file.
_EXPECTED = {
    "tuple_type": "a list is expected",
    "model_type": "a group of settings is expected",
    "model_attributes_type": "a group of settings is expected",
}

# A date that is none or a number of thousands of digits is a ValueError, lists within lists without end are the other.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AugmentSettings(_Settings):
    """What varies of the clips of few shots; see `trainer.data.augment`.

    Attributes:
        crop: smallest share of the picture's sides that a clip shows; 1 shows all of it.
        flip: mirror every other clip, with "left" and "right" exchanged in its sentence.
        colour: largest share by which brightness, contrast and saturation change.
        variants: of each sample there are so many, kept encoded, the first unchanged; None draws them anew each time.
        seed: of the variants.
    """

    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    flip: bool = False
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0
    variants: Annotated[int, Field(ge=1, le=1000)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0


ClipKind = Literal["scattered", "contiguous", "strided"]


class SourceSettings(_Settings):
    """A dataset on disk.

    Attributes:
        kind: its layout; see `trainer.data`.
        root: its folder; in a YAML file a relative one is taken from `data_root`.
        name: which of several datasets of one layout: refcoco, refcoco+ or refcocog.
        split: train, valid, ...
        weight: how often each of its samples is drawn in an epoch, on average.
        pseudo_video: make clips of its still images (REM, sec. 4.1).
        max_samples: draw from a random subset of this many samples.
        shots: of kind folder, names of the shots to take; None for all.
        clips: how the frames of a clip are chosen, one of these ways each time: scattered over the whole video, as the
            authors choose them; contiguous; or strided, evenly some frames apart.
        augment: what else varies; None for nothing, as in the paper.
        keep_frames: keep frames and masks of videos at the model's size in the cache, so that large ones are decoded
            once; None where they are shots of your own.
    """

    kind: DatasetKind
    root: Path
    name: str | None = None
    split: str = "train"
    weight: Annotated[float, Field(gt=0)] = 1.0
    pseudo_video: bool = False
    max_samples: Positive | None = None
    shots: tuple[str, ...] | None = None
    clips: Annotated[tuple[ClipKind, ...], Field(min_length=1)] = ("scattered",)
    augment: AugmentSettings | None = None
    keep_frames: bool | None = None


class DataSettings(_Settings):
    """What a batch is drawn from.

    Attributes:
        sources: datasets, joined.
        frames: frames in a clip.
        batch: clips in a batch of one process.
        on_broken: skip a sample that must not be trained on, with a line in the log, or refuse to go on.
        workers: processes that read ahead; 0 reads in the training process.
    """

    sources: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    frames: Frames
    batch: Annotated[int, Field(ge=1, le=65_536)]
    on_broken: Literal["skip", "refuse"] = "refuse"
    workers: Annotated[int, Field(ge=0, le=1024)] = 2


class Constant(_Settings):
    """A learning rate that stays."""

    kind: Literal["constant"] = "constant"


class Steps(_Settings):
    """A learning rate that is multiplied by a factor from a step on.

    Attributes:
        at: (step, factor on the initial rate), steps ascending and counted from 0.
    """

    kind: Literal["steps"]
    at: Annotated[tuple[tuple[Positive, Annotated[float, Field(ge=0)]], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> Steps:
        steps = [step for step, _ in self.at]
        if steps != sorted(set(steps)):
            raise ValueError(f"steps must ascend, and are {steps}")
        return self


class Cosine(_Settings):
    """A linear warm-up, then half a cosine.

    Attributes:
        warmup: steps.
        floor: factor on the rate at the last step.
    """

    kind: Literal["cosine"]
    warmup: Annotated[int, Field(ge=0)]
    floor: Annotated[float, Field(ge=0, le=1)]


class OptimSettings(_Settings):
    """How weights are updated.

    Attributes:
        optimizer: adamw; adamw_8bit, with moments of 8 bits (bitsandbytes); or muon, which updates matrices by
            orthogonalised momentum and the rest by Adam.
        lr: learning rate (of muon's matrices).
        vector_lr: with muon, the rate of what Adam updates.
        by_adam: with muon, beginnings of the names of matrices that Adam updates.
        betas, eps: of Adam.
        weight_decay: of AdamW, decoupled.
        no_decay: parts of names; a parameter whose name contains one is not decayed.
        schedule: factor on the rates by step.
        clip_value: clamp every element of the gradient to +-this.
        clip_norm: scale the gradient down to this norm.
        accumulate: batches whose gradients make one step.
    """

    optimizer: Literal["adamw", "adamw_8bit", "muon"] = "adamw"
    lr: Annotated[float, Field(gt=0)]
    vector_lr: Annotated[float, Field(gt=0)] | None = None
    by_adam: tuple[str, ...] = ()
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    no_decay: tuple[str, ...] = ()
    schedule: Annotated[Constant | Steps | Cosine, Field(discriminator="kind")] = Constant()
    clip_value: Annotated[float, Field(gt=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    accumulate: Positive = 1

    @model_validator(mode="after")
    def _one_of_each(self) -> OptimSettings:
        if self.clip_value is not None and self.clip_norm is not None:
            raise ValueError("give clip_value or clip_norm, not both")
        if self.optimizer == "muon" and self.vector_lr is None:
            raise ValueError("muon needs vector_lr, the learning rate of biases and norms")
        if self.optimizer == "muon" and self.weight_decay:
            raise ValueError("muon has no weight_decay; leave it at 0")
        if self.optimizer != "muon" and (self.vector_lr is not None or self.by_adam):
            raise ValueError(f"vector_lr and by_adam are muon's; {self.optimizer} has one lr")
        return self


class LoraSettings(_Settings):
    """Low-rank changes in place of the weights' own.

    Attributes:
        rank: of the change.
        alpha: the change is multiplied by alpha / rank.
        targets: ends of the names of the layers that get one.
    """

    rank: Positive
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[tuple[str, ...], Field(min_length=1)]


class ObjectiveSettings(_Settings):
    """What is predicted, and what it is compared with. The defaults are REM; the rest are the paper's ablations.

    Attributes:
        supervision: latent: squared error between predicted and mask latents (REM, sec. 3.2). rgb: between the decoded
            prediction and the mask, in pixels.
        decoder: from the denoiser's output to a mask. vae: the VAE's own, frozen. vae_tuned: that, trained along. cnn,
            mlp: a new head, trained from nothing (`trainer.model.decoders`).
        features: None, or the block of the denoiser, counted from 0 (of ModelScope's UNet: its up-block), whose output
            a new head reads; the denoiser is then frozen (the way of VD-IT).
        init: t2v: the weights of the model and checkpoint. scratch: the denoiser's are drawn anew.
        timestep: the denoiser is asked for; above 0 (for ModelScope from 0 on), the video's latents are noisy as the
            backbone's schedule has them there.
        output: what the denoiser's output stands for. mask: what a decoder reads, in REM the mask latents. velocity:
            that of FlowRVS (arXiv 2510.06139), in which the video's latents flow into the mask's; see
            `Trainable.velocity`.
    """

    supervision: Literal["latent", "rgb"] = "latent"
    decoder: Literal["vae", "vae_tuned", "cnn", "mlp"] = "vae"
    features: Annotated[int, Field(ge=0)] | None = None
    init: Literal["t2v", "scratch"] = "t2v"
    timestep: Annotated[int, Field(ge=0, lt=1000)] = 0
    output: Literal["mask", "velocity"] = "mask"

    @property
    def has_new_head(self) -> bool:
        """Whether masks come from a head that is no part of the base model."""
        return self.decoder in ("cnn", "mlp")

    @model_validator(mode="after")
    def _fits_together(self) -> ObjectiveSettings:
        if self.supervision == "latent" and self.decoder != "vae":
            raise ValueError(f"supervision latent does not train a decoder; use rgb with decoder {self.decoder}")
        if self.features is not None and not self.has_new_head:
            raise ValueError("features are read by a new head; use decoder cnn or mlp with them")
        if self.features is not None and self.init == "scratch":
            raise ValueError("features are those of a frozen pre-trained denoiser; use init t2v with them")
        if self.output == "velocity" and (self.timestep or self.features is not None):
            raise ValueError("output velocity has a timestep of its own and no features; leave both out with it")
        return self


class TrainSettings(_Settings):
    """A whole training run.

    Attributes:
        backbone: of the model folder.
        size: (height, width) in pixels the model sees.
        streams: taken in turn by step: with two, the first on even steps and the second on odd ones.
        steps: optimizer steps in all; or
        epochs: passes through the first stream.
        frozen: parts of names; a parameter of the denoiser whose name contains one is not trained.
        objective, optim: see there.
        lora: None trains the weights themselves.
        precision: float32, or bf16: float32 weights, computed under bfloat16 autocast.
        gradient_checkpointing: keep one activation a block and compute the others again.
        ema: decay of a moving average of the weights, which is then what is evaluated and exported.
        save_every, evaluate_every: steps.
        keep_last: checkpoints kept, beside the best.
        evaluation: samples held out for the evaluation figure.
        evaluate_videos: score whole videos at their own size by J&F, as the authors do, in place of J of one clip a
            sentence at the model's size.
        seed: of everything drawn at random.
    """

    backbone: FamilyKey
    size: tuple[Side, Side]
    streams: Annotated[tuple[DataSettings, ...], Field(min_length=1)]
    steps: Positive | None = None
    epochs: Positive | None = None
    frozen: tuple[str, ...] = ()
    objective: ObjectiveSettings = ObjectiveSettings()
    optim: OptimSettings
    lora: LoraSettings | None = None
    precision: Literal["float32", "bf16"] = "float32"
    gradient_checkpointing: bool = False
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    save_every: Positive
    keep_last: Positive = 2
    evaluate_every: Positive | None = None
    evaluation: DataSettings | None = None
    evaluate_videos: bool = False
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0

    @property
    def family(self) -> Family:
        """Constants of the backbone."""
        return FAMILIES[self.backbone]

    @model_validator(mode="after")
    def _fits_together(self) -> TrainSettings:
        multiple = self.family.size_multiple
        if any(side % multiple for side in self.size):
            raise ValueError(f"size must be multiples of {multiple} for {self.backbone}, and is {list(self.size)}")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of them")
        for data in (*self.streams, *([self.evaluation] if self.evaluation else [])):
            if self.family.pad_frame_count(data.frames) != data.frames:
                step, counts = self.family.frames_per_latent, self.family.frame_counts
                raise ValueError(f"frames must be {step}k+1 ({counts}) for {self.backbone}, and are {data.frames}")
        if self.lora is not None and (self.objective.init == "scratch" or self.objective.features is not None):
            raise ValueError("lora changes a pre-trained denoiser; leave it out with init scratch and with features")
        if self.gradient_checkpointing and self.backbone != "wan":
            raise ValueError("gradient_checkpointing is for wan; ModelScope's UNet in diffusers has none")
        if self.objective.output == "velocity" and self.backbone != "wan":
            raise ValueError("output velocity is for wan; ModelScope's denoiser predicts noise and no velocity")
        if (self.evaluate_every is None) != (self.evaluation is None):
            raise ValueError("evaluate_every and evaluation belong together; give both or neither")
        if self.evaluate_videos and self.evaluation is not None and self.objective != ObjectiveSettings():
            raise ValueError("evaluate_videos is for REM's own objective; set it to false with another")
        return self


def load_settings(preset_or_yaml: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainSettings:
    """Read settings.

    Args:
        preset_or_yaml: the name of a preset, such as "wan_14b", or a path of a YAML file of the same form.
        overrides: values by dotted name, list items by number: {"optim.lr": 1e-5, "streams.0.batch": "2"}. Strings are
            read as YAML. `data_root` is the folder from which relative roots of datasets are taken.

    Raises:
        FileNotFoundError: no such preset or file.
        ValueError: a setting that is unknown, missing or wrong; the sentence names it.
    """
    path = _find(preset_or_yaml)
    try:
        content = yaml.safe_load(load_text(path))
    except _NOT_YAML as error:
        raise ValueError(f"{path} is not valid YAML ({' '.join(str(error).split())}); mend it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings; names and values are expected, as in trainer/presets.")
    for name, value in (overrides or {}).items():
        _set(content, name, value)
    root = content.pop("data_root", None)
    if root is not None:
        _take_from(content, root)
    try:
        return TrainSettings.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{path.name}: {_sentence(error)}") from None


def dump_settings(settings: TrainSettings) -> str:
    """Settings as YAML that `load_settings` reads back to the same."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _find(preset_or_yaml: str | Path) -> Path:
    if Path(preset_or_yaml).suffix in (".yaml", ".yml"):
        path = Path(preset_or_yaml)
        check_is_file(path)
        if not path.is_file():
            raise FileNotFoundError(f"There are no settings at {path}; check the path.")
        return path
    path = PRESETS / f"{preset_or_yaml}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(preset.stem for preset in PRESETS.glob("*.yaml")))
        raise FileNotFoundError(f"There is no preset {str(preset_or_yaml)!r}; give one of {known}, or a .yaml file.")
    return path


def _set(content: dict[str, Any], name: str, value: Any) -> None:
    """Replace one value of nested dictionaries and lists."""
    *parents, last = name.split(".")
    place: Any = content
    for part in parents:
        place = _step_into(place, part, name)
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except _NOT_YAML as error:
            raise ValueError(f"The value of {name} is not valid YAML: {value!r}.") from error
    if isinstance(place, list):
        place[_index(place, last, name)] = value
    else:
        place[last] = value


def _step_into(place: Any, part: str, name: str) -> Any:
    if isinstance(place, list):
        inner = place[_index(place, part, name)]
    else:
        inner = place.get(part)
        if inner is None:  # a group of settings left at its defaults
            inner = place[part] = {}
    if not isinstance(inner, (dict, list)):
        raise ValueError(f"There is no setting {name}: {part} has no settings of its own.")
    return inner


def _index(place: list[Any], part: str, name: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise ValueError(f"There is no setting {name}: {part!r} is none of the {len(place)} there, counted from 0.")
    return int(part)


def _take_from(content: dict[str, Any], root: Any) -> None:
    """Take the relative roots of datasets from one folder; what has another form is left for validation to name."""
    streams = content.get("streams")
    for data in [*(streams if isinstance(streams, list) else []), content.get("evaluation")]:
        sources = data.get("sources") if isinstance(data, dict) else None
        for source in sources if isinstance(sources, list) else []:
            if isinstance(source, dict) and "root" in source:
                source["root"] = str(Path(str(root)) / str(source["root"]))


def _sentence(error: ValidationError) -> str:
    """The first thing wrong, as one sentence."""
    first = error.errors(include_url=False)[0]
    # pydantic names the kind of schedule it tried, which is no setting
    parts = [str(part) for part, before in zip(first["loc"], (None, *first["loc"])) if before != "schedule"]
    name = ".".join(parts)
    if first["type"] == "extra_forbidden":
        return f"there is no setting {name}; check its spelling."
    if first["type"] == "missing":
        return f"the setting {name} is missing."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{name}: {message}." if name else f"{message}."
    expected = _EXPECTED.get(first["type"], message[0].lower() + message[1:])
    # Aliases of YAML can make a few lines a list of millions, of which reprlib leaves thousands.
    given = shorten(reprlib.repr(first["input"]), _SHOWN, placeholder="...")
    return f"the setting {name} is {given}, but {expected}."
