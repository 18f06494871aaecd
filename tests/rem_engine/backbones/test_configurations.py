"""The JSON of a model folder decides neither what runs nor how much memory is taken, and is told where it is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from rem_engine import load_segmenter
from rem_engine.memory import peak_memory_mib

CARD = {"name": "x", "size": [64, 64], "window": 9, "overlap": 4}


@pytest.fixture
def folder(request: pytest.FixtureRequest, family: str) -> Path:
    """A model folder of the family."""
    return request.getfixturevalue(f"{family}_copy")


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def refused(folder: Path, path: Path) -> str:
    """The sentence that a folder is refused with, which names the file at fault; quickly and in little memory."""
    before, start = peak_memory_mib(), time.perf_counter()
    with pytest.raises(ValueError) as error:
        load_segmenter(folder, device="cpu")
    sentence = str(error.value)
    assert "\n" not in sentence and (str(path) in sentence or str(path.parent) in sentence)
    assert time.perf_counter() - start < 60
    if before is not None:
        assert peak_memory_mib() - before < 400
    return sentence


@pytest.mark.parametrize(
    "card",
    [
        *({"window": window} for window in (0, -5, 10, 10**9, "9", None, 9.5, True)),
        *({"size": size} for size in ([0, 64], [-64, 64], [65, 64], [10**6, 64], [64], 64, ["64", "64"], None)),
        *({"overlap": overlap} for overlap in (-1, 5, 10**9, "4")),
        {"name": 3},
        *({"words": words} for words in ("smoke", [3], {"smoke": 1}, None)),
    ],
)
def test_a_card_that_the_model_cannot_take_is_told(wan_copy: Path, card: dict[str, Any]) -> None:
    (wan_copy / "rem.json").write_text(json.dumps(CARD | card))
    refused(wan_copy, wan_copy / "rem.json")


def test_a_card_that_is_right_is_taken(wan_copy: Path) -> None:
    (wan_copy / "rem.json").write_text(json.dumps(CARD))
    backbone = load_segmenter(wan_copy, device="cpu").backbone
    assert (backbone.default_size, backbone.default_window, backbone.default_overlap) == ((64, 64), 9, 4)
    assert not backbone.known_words


def test_words_of_a_card_are_known_until_other_weights_are_laid_over(wan_copy: Path) -> None:
    (wan_copy / "rem.json").write_text(json.dumps(CARD | {"words": ["the", "smoke"]}))
    assert load_segmenter(wan_copy, device="cpu").backbone.known_words == {"the", "smoke"}
    tuned = load_segmenter(wan_copy, checkpoint=wan_copy / "transformer", device="cpu")
    assert not tuned.backbone.known_words


WRONG: list[Any] = ["two", [], 1e300]
SETTINGS = {
    "wan": {
        "transformer": ("num_layers", "num_attention_heads", "patch_size", "eps", "text_dim", "rope_max_seq_len"),
        "vae": ("base_dim", "dim_mult", "num_res_blocks", "temperal_downsample", "latents_mean", "latents_std"),
        "text_encoder": ("d_model", "num_layers", "num_heads", "layer_norm_epsilon", "vocab_size"),
    },
    "modelscope": {
        "unet": (
            "layers_per_block", "block_out_channels", "down_block_types", "norm_num_groups", "cross_attention_dim"
        ),
        "vae": ("block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups"),
        "text_encoder": ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "hidden_act"),
    },
}  # fmt: skip
EVERY_SETTING = [
    (family, part, name) for family, parts in SETTINGS.items() for part, names in parts.items() for name in names
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "part", "setting"), EVERY_SETTING)
def test_a_setting_of_the_wrong_type_is_told(folder: Path, part: str, setting: str) -> None:
    path = folder / part / "config.json"
    good = path.read_text()
    for value in WRONG:
        path.write_text(good)
        change(path, **{setting: value})
        refused(folder, path)


@pytest.mark.parametrize("setting", ["eps", "num_layers", "cross_attn_norm"])
def test_a_null_in_the_place_of_a_setting_is_told(wan_copy: Path, setting: str) -> None:
    """In a Wan folder others are null as published: image_dim, added_kv_proj_dim, pos_embed_seq_len, qk_norm."""
    path = wan_copy / "transformer" / "config.json"
    change(path, image_dim=None, added_kv_proj_dim=None, pos_embed_seq_len=None)
    load_segmenter(wan_copy, device="cpu")
    change(path, **{setting: None})
    with pytest.raises(ValueError, match=f"{path} gives {setting} as null; something like .* is expected."):
        load_segmenter(wan_copy, device="cpu")


@pytest.mark.parametrize("size", [2, 0, -1, 10**9, "two", [], {}])
def test_a_vae_of_patches_is_told(wan_copy: Path, size: Any) -> None:
    path = wan_copy / "vae" / "config.json"
    change(path, patch_size=None)
    load_segmenter(wan_copy, device="cpu")
    change(path, patch_size=size)
    with pytest.raises(ValueError, match=f"{path} gives patch_size as .*; null is expected: patches are Wan2.2's"):
        load_segmenter(wan_copy, device="cpu")


@pytest.mark.parametrize("setting", ["num_train_timesteps", "beta_start", "beta_schedule"])
def test_a_noise_schedule_of_the_wrong_type_is_told(modelscope_copy: Path, setting: str) -> None:
    path = modelscope_copy / "scheduler" / "scheduler_config.json"
    good = path.read_text()
    for value in ("two", [], {}, True) + ((10**9,) if setting == "num_train_timesteps" else ()):
        path.write_text(good)
        change(path, **{setting: value})
        refused(modelscope_copy, path)


@pytest.mark.parametrize(
    ("family", "part", "setting"),
    [
        ("wan", "transformer", "num_layers"),
        ("wan", "text_encoder", "num_layers"),
        ("wan", "vae", "num_res_blocks"),
        ("modelscope", "unet", "layers_per_block"),
        ("modelscope", "text_encoder", "num_hidden_layers"),
        ("modelscope", "vae", "layers_per_block"),
    ],
)
def test_a_giant_is_refused_before_it_is_built(folder: Path, part: str, setting: str) -> None:
    change(folder / part / "config.json", **{setting: 10**6})
    assert "asks for a model of more than" in refused(folder, folder / part / "config.json")


@pytest.mark.parametrize("end", [[55], None])
def test_an_end_of_text_that_is_no_number_is_told_or_left_aside(modelscope_copy: Path, end: Any) -> None:
    """Transformers would take it, and fail with the first prompt."""
    path = modelscope_copy / "text_encoder" / "config.json"
    change(path, eos_token_id=end)
    if end is None:
        assert load_segmenter(modelscope_copy, device="cpu").encode_prompts(["a"]).isfinite().all()
    else:
        assert "eos_token_id" in refused(modelscope_copy, path)


def test_settings_that_a_class_does_not_know_are_left_aside_in_silence(
    wan_copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(wan_copy / "transformer" / "config.json", of_another_version=3)
    load_segmenter(wan_copy, device="cpu")
    assert "of_another_version" not in capfd.readouterr().err


def test_labels_by_the_million_are_not_made(wan_copy: Path) -> None:
    change(wan_copy / "text_encoder" / "config.json", num_labels=10**9)
    load_segmenter(wan_copy, device="cpu")


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '"x"', "{", "[" * 100_000, "\xff"])
def test_a_configuration_that_is_no_object_is_told(wan_copy: Path, text: str) -> None:
    for part in ("transformer", "vae", "text_encoder"):
        path = wan_copy / part / "config.json"
        good = path.read_bytes()
        path.write_bytes(text.encode("latin-1"))
        refused(wan_copy, path)
        path.write_bytes(good)
    (wan_copy / "rem.json").write_bytes(text.encode("latin-1"))
    refused(wan_copy, wan_copy / "rem.json")


@pytest.mark.parametrize("text", ["{}", "[]", "null", "", "{", '{"model": {}}'])
def test_a_damaged_tokenizer_is_told(wan_copy: Path, text: str) -> None:
    (wan_copy / "tokenizer" / "tokenizer.json").write_text(text)
    refused(wan_copy, wan_copy / "tokenizer" / "tokenizer.json")


@pytest.mark.parametrize("pad", [3, [], ["!"], {"x": "!"}, {"content": 3}, "nowhere"])
def test_a_pad_token_that_is_none_is_told(modelscope_copy: Path, pad: Any) -> None:
    path = modelscope_copy / "tokenizer" / "special_tokens_map.json"
    change(path, pad_token=pad)
    refused(modelscope_copy, path)


def test_a_tokenizer_of_another_model_is_told(wan_copy: Path) -> None:
    change(wan_copy / "tokenizer" / "tokenizer_config.json", added_tokens_decoder={})
    path = wan_copy / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] += [[f"piece{number}", -9.0] for number in range(50)]
    path.write_text(json.dumps(content))
    assert "a row for 40" in refused(wan_copy, wan_copy / "tokenizer")


CODE = """
from pathlib import Path
Path({target!r}).write_text("it ran")
from transformers import PreTrainedTokenizerFast
class Harm(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
def test_code_that_comes_with_a_tokenizer_is_refused_and_does_not_run(
    wan_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    target = tmp_path / "it ran"
    (wan_copy / "tokenizer" / "harm.py").write_text(CODE.format(target=str(target)))
    asks = {"auto_map": {"AutoTokenizer": [None, "harm.Harm"]}, "tokenizer_class": "Harm"}
    path = wan_copy / "tokenizer" / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | asks))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    sentence = refused(wan_copy, path)
    assert "auto_map" in sentence and "nothing that a model folder brings is run" in sentence
    assert not target.exists()


def test_code_that_comes_with_a_component_is_refused(wan_copy: Path) -> None:
    change(wan_copy / "text_encoder" / "config.json", auto_map={"AutoModel": "harm.Harm"})
    assert "auto_map" in refused(wan_copy, wan_copy / "text_encoder" / "config.json")
