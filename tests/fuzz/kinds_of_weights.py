"""Whole files of weights of each form, and whole folders of models."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from mutations import (
    BYTES,
    float_values,
    gguf_header,
    json_mutation,
    safetensors_header,
    safetensors_metadata,
    text_mutation,
    truncated_text,
    zip_members,
)
from targets import Arguments, Target, as_shot, converted, write_plate

import rem_engine.commands.cli


def write_safetensors(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """The whole denoiser, a delta and a LoRA of it, it in int8, and weights in several files with their index."""
    main = rem_engine.commands.cli.main
    wan = Path(shutil.copytree(models["wan"], root / "wan"))
    base = next((wan / "transformer").glob("*.safetensors"))
    weights = _loaded(base)
    changed = {name: value + 0.01 * torch.randn_like(value) for name, value in weights.items()}
    _saved(changed, root / "whole.safetensors")
    for form in ("delta", "lora"):
        out = str(root / f"{form}.safetensors")
        assert main(["convert", str(root / "whole.safetensors"), "-o", out, "--as", form, "--base", str(base)]) == 0
    whole, rounded = str(root / "whole.safetensors"), str(root / "int8.safetensors")
    assert main(["convert", whole, "-o", rounded, "--dtype", "int8"]) == 0
    (root / "several").mkdir()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        _saved({name: weights[name] for name in held}, root / "several" / shard)
    index = {"metadata": {}, "weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (root / "several" / "x.safetensors.index.json").write_text(json.dumps(index))

    def laid_over(name: str) -> Arguments:
        more = ("--model", str(wan), "--checkpoint", str(root / name), "--size", "32x48", "--write", "masks,npz")
        return as_shot("plate", *more)

    write_plate(root)
    mutations = (*BYTES, safetensors_header, safetensors_header, safetensors_metadata, safetensors_metadata)
    return [
        Target("whole.safetensors", [converted("whole.safetensors")], (*mutations, float_values)),
        Target("delta.safetensors", [laid_over("delta.safetensors")], (*mutations, float_values)),
        Target("lora.safetensors", [laid_over("lora.safetensors")], mutations),
        Target("int8.safetensors", [converted("int8.safetensors")], mutations),
        Target("several/x.safetensors.index.json", [converted("several")], (*BYTES, json_mutation, json_mutation)),
    ]


def write_gguf(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """The denoiser packed, which is converted to safetensors."""
    packed = ["convert", str(models["wan"] / "transformer"), "-o", str(root / "packed.gguf"), "--as", "gguf"]
    assert rem_engine.commands.cli.main(packed) == 0
    header = (gguf_header,) * 3
    return [Target("packed.gguf", [converted("packed.gguf")], (*BYTES, *header, float_values))]


def write_pth(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """A checkpoint as REM's authors publish it, and one in the form before PyTorch 1.6."""
    weights = _loaded(next((models["wan"] / "transformer").glob("*.safetensors")))
    content = {"model_state": {f"module.backbone.dit.{name}": value for name, value in weights.items()}, "step": 3}
    torch.save(content, root / "rem.pth")
    torch.save(weights, root / "old.pth", _use_new_zipfile_serialization=False)

    return [
        Target("rem.pth", [converted("rem.pth")], (*BYTES, *[zip_members] * 4)),
        Target("old.pth", [converted("old.pth")], BYTES),
    ]


def _loaded(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _saved(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(weights), path)


# ---- model folders


def write_configurations(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """All JSON of a folder of Wan and of one of ModelScope, and of REM-mini its card."""
    write_plate(root)
    targets = []
    for family, parts in (
        ("wan", ("transformer/config.json", "vae/config.json", "text_encoder/config.json", "rem.json")),
        (
            "modelscope",
            ("unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"),
        ),
    ):
        shutil.copytree(models[family], root / family)
        command = _of_model(root / family)
        targets += [Target(f"{family}/{part}", [command], (truncated_text, *[json_mutation] * 5)) for part in parts]
    card = {"name": "tiny", "size": [32, 48], "window": 5, "overlap": 2}
    (root / "wan" / "rem.json").write_text(json.dumps(card))
    return targets


def write_tokenizers(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """What a tokenizer is made of: of Wan, of ModelScope, and SentencePiece's own file."""
    write_plate(root)
    text = (truncated_text, text_mutation, json_mutation, json_mutation, json_mutation)
    for family in ("wan", "modelscope"):
        shutil.copytree(models[family], root / family)
    pieces = Path(shutil.copytree(models["wan"], root / "pieces")) / "tokenizer"
    write_sentencepiece(pieces)
    wan, modelscope = _of_model(root / "wan"), _of_model(root / "modelscope")
    return [
        Target("wan/tokenizer/tokenizer.json", [wan], text),
        Target("wan/tokenizer/tokenizer_config.json", [wan], text),
        Target("modelscope/tokenizer/vocab.json", [modelscope], text),
        Target("modelscope/tokenizer/merges.txt", [modelscope], (*BYTES, text_mutation)),
        Target("modelscope/tokenizer/special_tokens_map.json", [modelscope], text),
        Target("pieces/tokenizer/spiece.model", [_of_model(root / "pieces")], BYTES),
    ]


def write_sentencepiece(folder: Path) -> None:
    """A tokenizer of single letters as SentencePiece writes it, without a tokenizer.json."""
    import sentencepiece

    shutil.rmtree(folder)
    folder.mkdir()
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the red thing", "the smoke from a kettle", "waves"] * 20),
        model_writer=written,
        vocab_size=24,
        hard_vocab_limit=False,
        model_type="char",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 77}
    tokens = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | tokens))


def _of_model(folder: Path) -> Arguments:
    return as_shot("plate", "--model", str(folder), "--size", "32x48" if folder.name != "modelscope" else "64x64")
