"""Fixtures shared by all tests: the golden cases, and a Wan folder small enough to build in seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `wan_case` runs once for every case folder there is."""
    if "wan_case" not in metafunc.fixturenames:
        return
    folder = _golden_folder()
    cases = sorted((folder / "wan" / "cases").iterdir()) if folder else []
    params = [pytest.param(case, id=case.name) for case in cases]
    if not params:
        params = [pytest.param(None, marks=pytest.mark.skip(reason=_NO_GOLDEN))]
    metafunc.parametrize("wan_case", params, scope="module", indirect=True)


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
