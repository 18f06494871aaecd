"""Many passes of a model of Wan2.1 for one reading of its weights: blocks outside, windows and prompts inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..memory import give_back_memory
from ..shelf import Shelf
from .base import Network, OneAtATime, queued
from .stream import BlockStream, Parked


class StreamedWan(OneAtATime):
    """diffusers' `WanTransformer3DModel.forward` taken apart at its blocks, at timestep 0.

    Args:
        transformer: a WanTransformer3DModel whose blocks are streamed.
        stream: that brings them.
        device: where it runs.
        dtype: what it computes in; below float32 under autocast.
        between: weights of another stage that are let go of for a pass, as those outside of the blocks are after it;
            None where there is memory for all of them.
    """

    def __init__(
        self,
        transformer: Network,
        stream: BlockStream,
        device: torch.device,
        dtype: torch.dtype,
        between: Parked | None = None,
    ) -> None:
        super().__init__()
        self._between = between
        if between:
            stream.rest.let_go()
        self.stream = stream
        self._transformer, self._device, self._dtype = transformer, device, dtype

    @property
    def steps(self) -> int:
        """How many times `predict` says that it is further on."""
        return len(self.stream.blocks)

    @queued
    @torch.no_grad()
    def predict(self, latents: Iterable[Tensor], prompt_embeds: Tensor, done: Callable[[], None]) -> Shelf:
        """Mask latents of every window for every prompt; every weight is read once.

        Args:
            latents: of windows, clean, [1,16,t,h,w] each.
            prompt_embeds: [P,77,4096].
            done: called after each block.

        Returns:
            float32 [P,16,t,h,w] for each window. What a window's tokens are between two blocks lies on a shelf too: in
            half precision 31 MB for each prompt at 9 frames of 512x512, 200 MB at 73, for the width of 14B.
        """
        if self._between:
            self._between.let_go()
        give_back_memory()
        self.stream.rest.bring()
        try:
            return self._predict(latents, prompt_embeds, done)
        finally:
            if self._between:
                self.stream.rest.let_go()

    def _predict(self, latents: Iterable[Tensor], prompt_embeds: Tensor, done: Callable[[], None]) -> Shelf:
        autocast = torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)
        with autocast, Shelf() as tokens:
            texts, modulation, time = self._condition(prompt_embeds)
            places: dict[torch.Size, tuple[Tensor, ...]] = {}
            shapes = []
            for window in latents:
                hidden = window.to(self._device, self._dtype)
                if hidden.shape not in places:
                    places[hidden.shape] = self._transformer.rope(hidden)
                embedded = self._transformer.patch_embedding(hidden).flatten(2).transpose(1, 2)
                shapes.append(hidden.shape)
                for _ in texts:
                    tokens.append(embedded)
            items = [(shape, text) for shape in shapes for text in texts]
            for number in range(len(self.stream.blocks)):
                with self.stream.held(number) as block:
                    for item, (shape, text) in enumerate(items):
                        tokens[item] = block(tokens[item].to(self._device), text, modulation, places[shape])
                give_back_memory()
                done()
            predicted = Shelf()
            for place, shape in enumerate(shapes):
                of_prompts = range(place * len(texts), (place + 1) * len(texts))
                masks = [self._latents(tokens[item].to(self._device), time, shape) for item in of_prompts]
                predicted.append(torch.cat(masks).float())
            return predicted

    def _condition(self, prompt_embeds: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Text tokens of each prompt [1,77,D], and of the timestep, 0, what modulates blocks [1,6,D] and the end."""
        texts = []
        for prompt in prompt_embeds.split(1):
            zero = torch.zeros(1, device=self._device, dtype=self._dtype)
            time, modulation, text, _ = self._transformer.condition_embedder(
                zero, prompt.to(self._device, self._dtype), None
            )
            texts.append(text)
        return texts, modulation.unflatten(1, (6, -1)), time

    def _latents(self, tokens: Tensor, time: Tensor, shape: torch.Size) -> Tensor:
        """The last block's tokens [1,n,D] -> latents [1,16,t,h,w]."""
        model = self._transformer
        shift, scale = (model.scale_shift_table + time.unsqueeze(1)).chunk(2, dim=1)
        tokens = model.proj_out((model.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens))
        (frames, height, width), (t, h, w) = shape[2:], model.config.patch_size
        patches = tokens.reshape(1, frames // t, height // h, width // w, t, h, w, -1)
        return patches.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(1, -1, frames, height, width)


class StreamedText:
    """transformers' `UMT5EncoderModel` with every block called for all sentences before the next one.

    Args:
        encoder: whose blocks are streamed.
        stream: that brings them.
    """

    def __init__(self, encoder: Network, stream: BlockStream) -> None:
        self._encoder, self._stream = encoder, stream

    def run(self, calls: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """Last hidden states [1,n,D] of each call, what the encoder gives for it alone.

        Args:
            calls: arguments of the encoder by name, a sentence each.
        """
        begun = [self._begin(call) for call in calls]
        hidden = [each.arguments[0] for each in begun]
        for number in range(len(self._stream.blocks)):
            with self._stream.held(number) as block:
                for place, each in enumerate(begun):
                    made = block(hidden[place], *each.arguments[1:], **each.named)
                    hidden[place] = made[0] if isinstance(made, tuple) else made  # a tuple before transformers 5
        return [self._encoder.encoder.final_layer_norm(each) for each in hidden]

    def _begin(self, call: Mapping[str, Tensor]) -> _FirstBlock:
        """What the first block is called with, which is the model's own affair."""

        def stop(block: Network, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            raise _FirstBlock(arguments, named)

        hook = self._stream.blocks[0].register_forward_pre_hook(stop, prepend=True, with_kwargs=True)
        try:
            self._encoder(**call)
        except _FirstBlock as reached:
            return reached
        finally:
            hook.remove()
        raise AssertionError("The encoder has not called its blocks.")


class _FirstBlock(Exception):
    """A model has come to its first block.

    Attributes:
        arguments, named: of the block.
    """

    def __init__(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__()
        self.arguments, self.named = arguments, named
