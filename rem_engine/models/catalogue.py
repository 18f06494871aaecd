"""The weights that REM runs on. Data only: nothing here touches the disk or the network."""

from __future__ import annotations

import difflib
import fnmatch
from dataclasses import dataclass
from typing import Literal

SizeSource = Literal["published", "computed", "at least"]

HUB = "https://huggingface.co"

# Parameters, counted from the architectures as diffusers and transformers build them: WanTransformer3DModel with
# 40 x 128 heads, 40 layers, ffn 13824 and with 12 x 128, 30, 8960; AutoencoderKLWan; the encoder of umt5-xxl;
# UNet3DConditionModel, CLIP ViT-H's text tower and AutoencoderKL of text-to-video-ms-1.7b.
WAN_14B_PARAMETERS = 14_288_491_584
WAN_1_3B_PARAMETERS = 1_418_996_800
WAN_VAE_PARAMETERS = 126_892_531
UMT5_XXL_PARAMETERS = 5_680_910_336
MODELSCOPE_UNET_PARAMETERS = 1_411_233_860
MODELSCOPE_OTHER_PARAMETERS = 340_387_840 + 83_653_863

_FP32, _FP16, _FP8 = 4, 2, 1  # bytes a parameter

_WAN_COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer")
_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class KnownModel:
    """Weights in a repository of the Hugging Face hub.

    Attributes:
        name: what `models get` calls it.
        purpose: what it is for, in a few words.
        repository: "owner/name" on the hub.
        folder: ComfyUI's name of the model folder it belongs to ("diffusion_models", "rem", "diffusers", ...).
        file: its path in the repository; "" for a folder in diffusers' layout, and where `patterns` stand for it.
        size: bytes.
        size_source: "published" by the hub; "computed" from the parameters, without headers; "at least": computed for
            weights that come with things whose size is not known.
        licence: its short name.
        licence_source: whose statement that is.
        patterns: of its path in lower case, as fnmatch has them, where the names in the repository were not known when
            this was written: the repository is then listed, and one weights file must match.
        components: subfolders a complete folder in diffusers' layout has; empty for a single file.
    """

    name: str
    purpose: str
    repository: str
    folder: str
    file: str
    size: int
    size_source: SizeSource
    licence: str
    licence_source: str
    patterns: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder in diffusers' layout, not a file."""
        return bool(self.components)

    @property
    def url(self) -> str:
        """Its page on the hub."""
        return f"{HUB}/{self.repository}"

    def local_name(self, path: str = "") -> str:
        """The name it gets on disk: of its folder, or of its file, which is at `path` in the repository."""
        if self.is_folder:
            return self.repository.rpartition("/")[2]
        name = (path or self.file).rpartition("/")[2]
        # A name such as "checkpoint.pth" would not be known again beside others.
        return name if self.matches(name) else f"{self.name}.{name.rpartition('.')[2]}"

    def matches(self, path: str) -> bool:
        """Whether a file, of the repository or on disk, is this one by its path or name."""
        if not self.patterns:
            return path.rpartition("/")[2] == self.file.rpartition("/")[2]
        path = path.lower()
        return path.endswith(_WEIGHT_SUFFIXES) and any(fnmatch.fnmatchcase(path, pattern) for pattern in self.patterns)


def known_model(name: str) -> KnownModel:
    """The model of that name.

    Raises:
        ValueError: there is none; the message names those with similar names.
    """
    for model in CATALOGUE:
        if model.name == name:
            return model
    names = [model.name for model in CATALOGUE]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise ValueError(f"No model is called {name!r}; did you mean {' or '.join(close)}? `models` lists them all.")


def _rem(name: str, patterns: tuple[str, ...], size: int, purpose: str) -> KnownModel:
    return KnownModel(
        name=name,
        purpose=purpose,
        repository="anuragba/refereverything",
        folder="rem",
        file="",
        size=size,
        size_source="at least",
        licence="CC BY 4.0",
        licence_source="REM's repository",
        patterns=patterns,
    )


def _wan(name: str, file: str, size: int, purpose: str, size_source: SizeSource = "computed") -> KnownModel:
    folder = file.partition("/")[0]
    return KnownModel(
        name=name,
        purpose=purpose,
        repository="Comfy-Org/Wan_2.1_ComfyUI_repackaged",
        folder=folder,
        file=f"split_files/{file}",
        size=size,
        size_source=size_source,
        licence="Apache-2.0",
        licence_source="Wan2.1",
    )


def _wan_diffusers(name: str, repository: str, parameters: int, purpose: str) -> KnownModel:
    return KnownModel(
        name=name,
        purpose=purpose,
        repository=repository,
        folder="diffusers",
        file="",
        size=(parameters + UMT5_XXL_PARAMETERS + WAN_VAE_PARAMETERS) * _FP32,
        size_source="computed",
        licence="Apache-2.0",
        licence_source="Wan2.1",
        components=_WAN_COMPONENTS,
    )


CATALOGUE: tuple[KnownModel, ...] = (
    _rem("rem-wan-14b", ("*wan*",), WAN_14B_PARAMETERS * _FP16, "REM on Wan2.1-14B: the authors' checkpoint"),
    _rem(
        "rem-modelscope",
        ("*modelscope*", "*ms*"),
        MODELSCOPE_UNET_PARAMETERS * _FP32,
        "REM on ModelScope-1.4B: the authors' checkpoint",
    ),
    _wan(
        "wan2.1-t2v-14b-bf16",
        "diffusion_models/wan2.1_t2v_14B_bf16.safetensors",
        WAN_14B_PARAMETERS * _FP16,
        "the base of REM Wan-14B in ComfyUI: for its delta and LoRA forms",
    ),
    _wan(
        "wan2.1-t2v-14b-fp16",
        "diffusion_models/wan2.1_t2v_14B_fp16.safetensors",
        WAN_14B_PARAMETERS * _FP16,
        "the same in float16, for GPUs without bfloat16",
    ),
    _wan(
        "wan2.1-t2v-14b-fp8",
        "diffusion_models/wan2.1_t2v_14B_fp8_scaled.safetensors",
        WAN_14B_PARAMETERS * _FP8,
        "the same in 8 bits: half the memory, less exact",
    ),
    _wan(
        "wan2.1-t2v-1.3b-fp16",
        "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors",
        2_838_303_560,
        "a small base, for REM weights of your own",
        "published",
    ),
    _wan(
        "umt5-xxl-fp8",
        "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        6_735_906_897,
        "Wan's text encoder in ComfyUI",
        "published",
    ),
    _wan(
        "umt5-xxl-fp16",
        "text_encoders/umt5_xxl_fp16.safetensors",
        11_366_399_385,
        "Wan's text encoder in ComfyUI, more exact",
        "published",
    ),
    _wan("wan2.1-vae", "vae/wan_2.1_vae.safetensors", 253_815_318, "Wan's VAE in ComfyUI", "published"),
    _wan_diffusers(
        "wan2.1-t2v-14b-diffusers",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        WAN_14B_PARAMETERS,
        "the base of REM Wan-14B on the command line (--model)",
    ),
    _wan_diffusers(
        "wan2.1-t2v-1.3b-diffusers",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        WAN_1_3B_PARAMETERS,
        "a small base on the command line, for REM weights of your own",
    ),
    KnownModel(
        name="modelscope-1.7b-diffusers",
        purpose="the base of REM ModelScope, in ComfyUI and on the command line (--model)",
        repository="ali-vilab/text-to-video-ms-1.7b",
        folder="diffusers",
        file="",
        size=(MODELSCOPE_UNET_PARAMETERS + MODELSCOPE_OTHER_PARAMETERS) * _FP32,
        size_source="computed",
        licence="non-commercial",
        licence_source="ModelScope",
        components=("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    ),
)
