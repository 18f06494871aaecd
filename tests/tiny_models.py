"""Model folders of every family, small enough to build in seconds."""

from __future__ import annotations

import json
from pathlib import Path


def write_tiny_wan(folder: Path) -> Path:
    """A model folder in diffusers' layout, with random weights: one block, narrow VAE, text width 32.

    Its tokenizer knows single characters only, so that a prompt has one token a letter, one a space before a word, and
    one at its end.
    """
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

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


def write_tiny_modelscope(folder: Path) -> Path:
    """A ModelScope folder in diffusers' layout, with random weights and text of width 32.

    Its tokenizer knows single letters only, so that a prompt has a token a letter and one at either end. As in the
    published folder, two files disagree on the pad token.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

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
