"""The kinds of files that come from outside: whole ones of each, and the commands that read them."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenImageIO as oiio
import torch
from mutations import (
    BYTES,
    Mutation,
    float_values,
    gguf_header,
    jpeg_segments,
    json_mutation,
    mp4_boxes,
    png_chunks,
    safetensors_header,
    safetensors_metadata,
    text_mutation,
    zip_members,
)
from PIL import Image

import rem_engine.commands.cli
import trainer.commands.cli

HEIGHT, WIDTH, FRAMES = 32, 48, 3
PICTURE = np.stack(
    [
        np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1)),
        np.tile(np.linspace(0, 1, HEIGHT)[:, None], (1, WIDTH)),
        np.full((HEIGHT, WIDTH), 0.25),
    ],
    axis=-1,
).astype(np.float32)
GREY = np.repeat(PICTURE[..., :1], 3, axis=-1)

Arguments = Callable[[Path, Path], list[str]]
"""(folder of the whole files, folder to write to) -> a command line."""


@dataclass(frozen=True)
class Target:
    """A file to damage.

    Attributes:
        path: of the file, below the folder of a kind's files.
        commands: that read it.
        mutations: what happens to it.
        main: whose command line.
    """

    path: str
    commands: Sequence[Arguments]
    mutations: Sequence[Mutation] = BYTES
    main: Callable[[Sequence[str]], int] = rem_engine.commands.cli.main


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: writes whole ones into a folder, and says what can be damaged of them.
        loads: whether the commands load a model from a folder, or have a stand-in.
        changed: the folder among the files that commands write to.
        named: whether whatever is wrong with a file is told by its name.
    """

    write: Callable[[Path, Mapping[str, Path]], list[Target]]
    loads: bool = False
    changed: str = ""
    named: bool = False


def case_of(kind: str, targets: Sequence[Target], number: int) -> tuple[Target, Arguments, Mutation, random.Random]:
    """What happens in a case: all that can be combined has its turn before anything has a second one."""
    choices = [choice for target in targets for choice in product([target], target.commands, target.mutations)]
    random.Random(kind).shuffle(choices)
    return *choices[number % len(choices)], random.Random(f"{kind} {number}")


# ---- commands


def as_shot(name: str, *options: str) -> Arguments:
    return lambda root, out: ["segment", str(root / name), "-p", "the red thing", "-o", str(out), *(options or _NPZ)]


def as_masks(name: str, shot: str = "plate", *options: str) -> Arguments:
    """Masks for frames of their number and size, which are written beside them."""
    return lambda root, out: ["matte", str(root / shot), "--masks", str(root / name), "-o", str(out), *options]


def converted(name: str) -> Arguments:
    return lambda root, out: ["convert", str(root / name), "-o", str(out / "o.safetensors")]


_NPZ = ("--write", "npz,masks")


# ---- pictures and videos


def _save(path: Path, pixels: np.ndarray, **attributes: Any) -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], attributes.pop("type", "uint8"))
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    writer = oiio.ImageOutput.create(str(path))
    assert writer.open(str(path), spec) and writer.write_image(pixels), writer.geterror()
    writer.close()


def _plate(root: Path, count: int = 1, height: int = HEIGHT, width: int = WIDTH) -> None:
    (root / "plate").mkdir()
    for number in range(count):
        moved = np.roll(PICTURE[:height, :width], 3 * number, axis=1)
        Image.fromarray(np.round(moved * 255).astype(np.uint8)).save(root / "plate" / f"p.{number + 1001}.png")


def _pictures(root: Path, files: Mapping[str, Mapping[str, Any]], *mutations: Mutation) -> list[Target]:
    """Pictures of this content, by name, read as a shot; and grey ones read as masks too."""
    _plate(root)
    targets = []
    for name, attributes in files.items():
        attributes = dict(attributes)
        pixels = GREY if attributes.pop("grey", False) else PICTURE
        _save(root / name, pixels, **attributes)
        commands = [as_shot(name), *([as_masks(name)] if pixels is GREY else [])]
        targets.append(Target(name, commands, (*BYTES, *mutations)))
    return targets


def write_png(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {"eight.png": {}, "sixteen.png": {"type": "uint16", "grey": True}}
    targets = _pictures(root, files, png_chunks, png_chunks, png_chunks)
    with Image.open(root / "eight.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.quantize(16).save(root / "palette.png", exif=exif, dpi=(72, 72))
    return [*targets, Target("palette.png", [as_shot("palette.png")], (*BYTES, png_chunks, png_chunks, png_chunks))]


def write_jpeg(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """And what followed it, as far as this OpenImageIO reads that."""
    known = oiio.get_string_attribute("format_list").split(",")
    targets = _pictures(root, {"mask.jpg": {"grey": True}}, jpeg_segments, jpeg_segments)
    later = [name for name, form in (("still.webp", "webp"), ("still.jxl", "jpegxl")) if form in known]
    for name in later:
        _save(root / name, PICTURE)
        targets.append(Target(name, [as_shot(name)]))
    exif = Image.Exif()
    exif[0x0112] = 8
    picture = Image.fromarray(np.round(PICTURE * 255).astype(np.uint8))
    picture.save(root / "turned.jpg", exif=exif, progressive=True)
    return [*targets, Target("turned.jpg", [as_shot("turned.jpg")], (*BYTES, jpeg_segments, jpeg_segments))]


def write_tiff(root: Path, _: Mapping[str, Path]) -> list[Target]:
    return _pictures(
        root,
        {
            "eight.tif": {"compression": "lzw"},
            "sixteen.tif": {"type": "uint16", "grey": True, "compression": "none"},
            "planar.tif": {"type": "uint16", "planarconfig": "separate", "compression": "zip"},
            "float.tif": {"type": "float", "compression": "none"},
        },
    )


def write_dpx(root: Path, _: Mapping[str, Path]) -> list[Target]:
    names = {8: "eight", 10: "ten", 12: "twelve", 16: "sixteen"}
    return _pictures(
        root,
        {
            f"{name}.dpx": {
                "type": "uint8" if bits == 8 else "uint16",
                "oiio__BitsPerSample": bits,
                "grey": bits == 16,
            }
            for bits, name in names.items()
        },
    )


def write_exr(root: Path, _: Mapping[str, Path]) -> list[Target]:
    targets = _pictures(
        root,
        {
            "zip.exr": {"type": "half", "compression": "zip"},
            "piz.exr": {"type": "float", "compression": "piz", "grey": True},
            "dwaa.exr": {"type": "half", "compression": "dwaa"},
        },
    )
    specs = []
    for name, channels in (("depth", ("Z",)), ("rgba", ("R", "G", "B"))):
        spec = oiio.ImageSpec(WIDTH, HEIGHT, len(channels), "float")
        spec.channelnames = channels
        spec.attribute("name", name)
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    writer = oiio.ImageOutput.create(str(root / "parts.exr"))
    assert writer.open(str(root / "parts.exr"), tuple(specs))
    assert writer.write_image(PICTURE[..., :1])
    assert writer.open(str(root / "parts.exr"), specs[1], "AppendSubimage") and writer.write_image(PICTURE)
    writer.close()
    return [*targets, Target("parts.exr", [as_shot("parts.exr")])]


def _video(path: Path, codec: str, pix_fmt: str, *, grey: bool = False, sound: bool = False) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        tone = container.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48_000) if sound else None
        for number in range(FRAMES):
            pixels = np.roll(GREY if grey else PICTURE, 4 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(np.round(pixels * 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 6000), np.float32), format="fltp", layout="mono")
            silence.rate = 48_000
            container.mux(tone.encode(silence))
            container.mux(tone.encode())


def _videos(root: Path, files: Mapping[str, tuple], *mutations: Mutation) -> list[Target]:
    _plate(root, FRAMES)
    targets = []
    for name, (codec, pix_fmt, grey, sound) in files.items():
        _video(root / name, codec, pix_fmt, grey=grey, sound=sound)
        commands = [as_shot(name), as_masks(name)] if grey else [as_shot(name)]
        targets.append(Target(name, commands, (*BYTES, *mutations)))
    return targets


def write_mp4(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {"shot.mp4": ("libx264", "yuv420p", False, True), "mask.mp4": ("libx264", "yuv420p", True, False)}
    return _videos(root, files, *[mp4_boxes] * 6)


def write_mov(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {
        "shot.mov": ("prores_ks", "yuv422p10le", False, False),
        "mask.mov": ("prores_ks", "yuva444p10le", True, False),
    }
    return _videos(root, files, *[mp4_boxes] * 6)


def write_webm(root: Path, _: Mapping[str, Path]) -> list[Target]:
    files = {
        "shot.webm": ("libvpx-vp9", "yuv420p", False, False),
        "mask.mkv": ("ffv1", "yuv420p", True, False),
    }
    return _videos(root, files)


# ---- what runs write


def write_npz(root: Path, _: Mapping[str, Path]) -> list[Target]:
    _plate(root, FRAMES)
    soft = np.stack([np.roll(PICTURE[..., 0], 3 * number, axis=1) for number in range(FRAMES)])
    np.savez_compressed(root / "packed.npz", soft=soft)
    np.savez(root / "soft.npz", soft=soft)
    mutations = (*BYTES, *[zip_members] * 4, float_values)
    return [Target(name, [as_masks(name)], mutations) for name in ("soft.npz", "packed.npz")]


def write_run(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """A whole run, and one that was stopped; each is gone on with, added to, and taken masks from."""
    _plate(root, FRAMES)
    main, plate = rem_engine.commands.cli.main, str(root / "plate")
    main(["segment", plate, "-p", "one: the red thing", "-o", str(root / "run"), "--write", "soft,alpha,exr"])
    main(["segment", plate, "-p", "two: the red thing", "-o", str(root / "run"), "--write", "soft"])
    _stopped(root, ["segment", plate, "-p", "three: the red thing", "-o", str(root / "run"), "--write", "soft,png16"])
    same = ("--write", "soft,png16")
    into_run = [
        lambda root, out: ["segment", plate, "-p", "three: the red thing", "-o", str(root / "run"), *same],
        lambda root, out: ["segment", plate, "-p", "two: the smoke", "-o", str(root / "run"), "--write", "soft"],
    ]
    mutations = (truncated_text, text_mutation, *[json_mutation] * 6)
    masks = as_masks("run")
    return [
        Target("run/run.json", [*into_run, masks], mutations),
        Target("run/.unfinished.json", into_run, mutations),
    ]


def truncated_text(data: bytes, draw: random.Random) -> bytes:
    """A file cut off anywhere, or some of its bits turned."""
    return draw.choice(BYTES[:3])(data, draw)


def _stopped(root: Path, arguments: list[str]) -> None:
    """Run a command that is stopped after the masks of its second frame."""
    from rem_engine.run.folder import RunFolder

    write = RunFolder.write_frame

    def stops(folder: RunFolder, *given: Any) -> None:
        if folder.frames_done == 2:
            raise KeyboardInterrupt
        write(folder, *given)

    RunFolder.write_frame = stops
    try:
        assert rem_engine.commands.cli.main(arguments) == 130
    finally:
        RunFolder.write_frame = write
    assert (root / "run" / ".unfinished.json").is_file()


def write_prompts(root: Path, _: Mapping[str, Path]) -> list[Target]:
    _plate(root)
    lines = "smoke: the smoke | -the steam\n\nthe red thing\nfire: the fire at 10:30 | -the lamp | -the candle\n"
    (root / "prompts.txt").write_text(lines, encoding="utf-8-sig")

    def command(root: Path, out: Path) -> list[str]:
        prompts = str(root / "prompts.txt")
        return ["segment", str(root / "plate"), "--prompts", prompts, "-o", str(out), "--write", "masks,exr"]

    return [Target("prompts.txt", [command], (*BYTES, *[text_mutation] * 6))]


# ---- weights


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

    _plate(root)
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
    _plate(root)
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
    _plate(root)
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


# ---- training


def write_training(root: Path, models: Mapping[str, Path]) -> list[Target]:
    """Settings that a training is started by, all that a run keeps of itself, and its caches."""
    from runs import run, write_settings, write_shots

    wan = Path(shutil.copytree(models["wan"], root / "wan"))
    shots = write_shots(root / "shots", 2)
    settings = write_settings(root / "settings.yaml", shots, steps=2, ema=0.9)
    preset = {**json.loads(json.dumps(_yaml(settings))), "steps": 3}
    (root / "preset.yaml").write_text(json.dumps(preset))  # JSON is YAML
    run(wan, settings, root / "run")
    last = next((root / "run" / "checkpoints").iterdir()).relative_to(root)

    def train(settings: str, folder: str, *options: str) -> Arguments:
        def arguments(root: Path, out: Path) -> list[str]:
            where = out / "new" if folder == "new" else root / folder
            return ["train", str(root / settings), "--model", str(wan), "--out", str(where), *options]

        return arguments

    def export(root: Path, out: Path) -> list[str]:
        return ["export", str(root / "run"), "-o", str(out / "o.safetensors")]

    more = train("preset.yaml", "new", "--no-cache")
    resume = train("settings.yaml", "run", "--resume")
    cached = train("preset.yaml", "new", "--cache", str(root / "run" / "cache"))
    main = trainer.commands.cli.main
    text = (truncated_text, text_mutation, *[json_mutation] * 4)
    weights = (*BYTES, safetensors_header, float_values)
    caches = [path.relative_to(root) for path in (root / "run" / "cache").rglob("*.safetensors")]
    return [
        Target("preset.yaml", [more], (*text, *text), main),
        Target("run/settings.yaml", [resume, export], (truncated_text, text_mutation), main),
        Target("run/start.json", [resume, export], text, main),
        Target(f"{last}/progress.json", [resume, export], text, main),
        Target(f"{last}/denoiser.safetensors", [resume], weights, main),
        Target(f"{last}/average.safetensors", [resume, export], weights, main),
        *(
            Target(f"{last}/{name}", [resume], (*BYTES, zip_members), main)
            for name in ("optimizer.bin", "random_states_0.pkl")
        ),
        *(Target(str(path), [cached], (*BYTES, safetensors_header, safetensors_metadata), main) for path in caches),
    ]


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text())


# ---- datasets


def write_datasets(root: Path, _: Mapping[str, Path]) -> list[Target]:
    """The listings of every layout of datasets; `score` reads a split's of rendered shots too."""
    from miniatures import write_folder, write_mevis, write_ref_ytvos, write_refcoco
    from runs import write_shots

    write_mevis(root / "mevis")
    write_ref_ytvos(root / "ytvos")
    write_refcoco(root / "refcoco")
    write_folder(root / "own")
    write_shots(root / "synth", 2)
    main = trainer.commands.cli.main
    mutations = (truncated_text, text_mutation, *[json_mutation] * 5)

    def check(name: str, *options: str) -> Arguments:
        return lambda root, out: ["check-data", str(root / name), *options]

    def score(root: Path, out: Path) -> list[str]:
        return ["score", "--data", str(root / "synth")]

    return [
        Target("mevis/train/meta_expressions.json", [check("mevis", "--kind", "mevis")], mutations, main),
        Target("mevis/train/mask_dict.json", [check("mevis", "--kind", "mevis")], mutations, main),
        Target(
            "ytvos/meta_expressions/train/meta_expressions.json",
            [check("ytvos", "--kind", "ref_ytvos")],
            mutations,
            main,
        ),
        Target(
            "refcoco/refcoco/instances_refcoco_train.json",
            [check("refcoco", "--kind", "refcoco", "--name", "refcoco")],
            mutations,
            main,
        ),
        Target("synth/synth.json", [check("synth", "--kind", "synth"), score], mutations, main),
        Target("own/sh010/prompts.txt", [check("own")], (*BYTES, text_mutation), main),
    ]


KINDS: Mapping[str, Kind] = {
    "png": Kind(write_png, named=True),
    "jpeg": Kind(write_jpeg, named=True),
    "tiff": Kind(write_tiff, named=True),
    "dpx": Kind(write_dpx, named=True),
    "exr": Kind(write_exr, named=True),
    "mp4": Kind(write_mp4, named=True),
    "mov": Kind(write_mov, named=True),
    "webm": Kind(write_webm, named=True),
    "soft.npz": Kind(write_npz, named=True),
    "run.json": Kind(write_run, changed="run"),
    "prompts": Kind(write_prompts),
    "safetensors": Kind(write_safetensors, loads=True),
    "gguf": Kind(write_gguf, loads=True, named=True),
    "pth": Kind(write_pth, loads=True, named=True),
    "config.json": Kind(write_configurations, loads=True),
    "tokenizer": Kind(write_tokenizers, loads=True),
    "training": Kind(write_training, loads=True, changed="run"),
    "datasets": Kind(write_datasets),
}
