"""REM-mini's tokenizer and text encoder."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from rem_engine.backbones.base import Network

from ..synth.worlds import WORLDS
from .settings import MiniSettings

SENTENCES = 20000
SPELLING_PIECES = 173
"""Pieces that spell words out; the words of the corpus come on top."""
CAPITALISED = 0.15
"""Share of sentences that begin with a capital, as people type them."""


def corpus(world: str, seed: int) -> list[str]:
    """Captions and expressions of random shots of one of `WORLDS`, a sentence each."""
    rng, spoken = np.random.default_rng(seed), WORLDS[world]
    sentences: list[str] = []
    while len(sentences) < SENTENCES:
        things = spoken.sample_things(rng)
        sentences += [spoken.caption(rng, things), spoken.describe_absent(rng, things)]
        sentences += [text for each in spoken.targets(things) if (text := spoken.describe(rng, things, each))]
    return [s.capitalize() if rng.random() < CAPITALISED else s for s in sentences]


def train_tokenizer(folder: Path, settings: MiniSettings) -> None:
    """Write a sentencepiece vocabulary that spells every printable ASCII text; other characters are unknown.

    The folder holds spiece.model (which the host reads) and tokenizer.json (which transformers reads); padding is 0,
    the end of a text 1 and unknown 2, as in UMT5.
    """
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from transformers import T5TokenizerFast

    sentences = corpus(settings.world, settings.seed)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=SPELLING_PIECES,
        model_type="unigram",
        required_chars="".join(map(chr, range(33, 127))),
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    known = {piece.piece for piece in proto.pieces}
    words = Counter(word for sentence in sentences for word in sentence.replace(",", "").split())
    # so small a corpus makes the trainer split most words; a whole word is one piece here, at its own log-probability
    for word, count in sorted(words.items()):
        if "▁" + word not in known:
            proto.pieces.add(piece="▁" + word, score=math.log(count / words.total()))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(proto.SerializeToString())
    tokenizer = T5TokenizerFast.from_pretrained(folder, extra_ids=0)
    tokenizer.save_pretrained(folder)


def new_text_encoder(settings: MiniSettings, vocabulary: int) -> Network:
    """An untrained UMT5 encoder (transformers' `UMT5EncoderModel`) of REM-mini's size."""
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(settings.seed)
    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=settings.text_dim,
        d_kv=settings.text_dim // settings.text_heads,
        d_ff=2 * settings.text_dim,
        num_layers=settings.text_layers,
        num_decoder_layers=settings.text_layers,
        num_heads=settings.text_heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
    )
    return UMT5EncoderModel(config)
