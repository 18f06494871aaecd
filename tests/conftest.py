"""Fixtures shared by all tests: the golden cases, and model folders small enough to build in seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from comfy_hosts import UNTESTED, host_params

_BESIDE = Path(__file__).parents[2] / "shared" / "golden"
_NO_GOLDEN = "golden cases not found: set REM_GOLDEN or put them in ../shared/golden beside the checkout"


def _golden_folder() -> Path | None:
    folder = Path(os.environ.get("REM_GOLDEN", _BESIDE))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden cases; the test is skipped where there is none."""
    folder = _golden_folder()
    if folder is None:
        pytest.skip(_NO_GOLDEN)
    return folder


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Path:
    """The folder of a ComfyUI: the newest found, or with --all-hosts each; the test is skipped where there is none."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-hosts", action="store_true", help="test in every ComfyUI found, not in the newest alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `host`, `wan_case` or `modelscope_case` runs once for every one there is."""
    if "host" in metafunc.fixturenames:
        params = host_params(metafunc.config.getoption("all_hosts"))
        metafunc.parametrize("host", params, scope="session", indirect=True)
    for backbone in ("wan", "modelscope"):
        if f"{backbone}_case" not in metafunc.fixturenames:
            continue
        folder = _golden_folder()
        cases = sorted((folder / backbone / "cases").iterdir()) if folder else []
        params = [pytest.param(case, id=case.name) for case in cases]
        if not params:
            params = [pytest.param(None, marks=pytest.mark.skip(reason=_NO_GOLDEN))]
        metafunc.parametrize(f"{backbone}_case", params, scope="module", indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: no process is left alone with one of them while the others have ended."""
    turns: dict[Path, int] = {}
    for item in items:
        turn = 0 if item.get_closest_marker("host") else 1 if item.get_closest_marker("slow") else 2
        turns[item.path] = min(turn, turns.get(item.path, turn))
    items.sort(key=lambda item: turns[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped tests are easily overlooked; that no node was tried in a host should not be."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    untested = sorted(reason for reason in reasons if UNTESTED in reason)
    if untested:
        terminalreporter.section(f"{len(untested)} tests of the nodes were not run", yellow=True)
        for reason in dict.fromkeys(untested):
            terminalreporter.line(reason.removeprefix("Skipped: "))


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder in diffusers' layout, with random weights: one block, narrow VAE, text width 32.

    Its tokenizer knows single characters only, so that a prompt has one token a letter, one a space before a word, and
    one at its end.
    """
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    folder = tmp_path_factory.mktemp("tiny_wan")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WanTransformer3DModel(num_attention_heads=1, num_layers=1, ffn_dim=64, text_dim=4096).save_pretrained(
            folder / "transformer"
        )
        AutoencoderKLWan(base_dim=4).save_pretrained(folder / "vae")
        config = UMT5Config(d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=40, dropout_rate=0.0)
        UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")

    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture(scope="session")
def tiny_modelscope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModelScope folder in diffusers' layout, with random weights and text of width 32.

    Its tokenizer knows single letters only, so that a prompt has a token a letter and one at either end. As in the
    published folder, two files disagree on the pad token.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("tiny_modelscope")
    letters = "abcdefghijklmnopqrstuvwxyz"
    start, end = "<|startoftext|>", "<|endoftext|>"
    pieces = ["!", "!</w>", *letters, *(f"{letter}</w>" for letter in letters), start, end]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet3DConditionModel(
            block_out_channels=(32, 32),
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=8,
        ).save_pretrained(folder / "unet")
        AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            norm_num_groups=8,
        ).save_pretrained(folder / "vae")
        config = CLIPTextConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            hidden_act="gelu",
            bos_token_id=pieces.index(start),
            eos_token_id=pieces.index(end),
        )
        CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
    ).save_pretrained(folder / "scheduler")

    tokens = {"bos_token": start, "eos_token": end, "unk_token": end}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **tokens, "pad_token": end}
    texts = {
        "vocab.json": json.dumps({piece: number for number, piece in enumerate(pieces)}),
        "merges.txt": "#version: 0.2\n",
        "tokenizer_config.json": json.dumps(config),
        "special_tokens_map.json": json.dumps({**tokens, "pad_token": "!"}),
    }
    (folder / "tokenizer").mkdir()
    for name, text in texts.items():
        (folder / "tokenizer" / name).write_text(text, encoding="utf-8")
    return folder
