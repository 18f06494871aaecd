"""Muon: what it orthogonalises, and what it leaves to Adam."""

from __future__ import annotations

import torch
from torch import nn

from trainer.run.muon import Muon, orthogonalised


def test_an_orthogonalised_matrix_has_singular_values_near_one_and_its_own_directions() -> None:
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalised(matrix)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.65 and values.max() < 1.25
    # in the matrix's own singular basis the result is diagonal
    inside = u.T @ result @ v.T
    assert (inside - inside.diagonal().diag()).abs().max() < 1e-4


def test_adam_updates_vectors_and_what_is_named_and_frozen_parameters_stay() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"body": nn.Linear(8, 8), "head": nn.Linear(8, 8), "frozen": nn.Linear(8, 8)})
    model["frozen"].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = Muon(model, rate=0.5, vector_rate=0.01, by_adam=("head.",))
    model["frozen"](model["head"](model["body"](torch.randn(32, 8)))).square().sum().backward()
    optimizer.step()
    moved = {name: (value - before[name]).abs() for name, value in model.state_dict().items()}
    assert moved["frozen.weight"].max() == 0
    # Adam's first step is the rate times the gradient's sign, everywhere
    assert torch.allclose(moved["head.weight"], torch.full((8, 8), 0.01), atol=1e-4)
    assert torch.allclose(moved["body.bias"], torch.full((8,), 0.01), atol=1e-4)
    values = torch.linalg.svdvals(model["body"].weight.detach() - before["body.weight"]) / 0.5
    assert values[0] < 1.25 and values[4] > 0.65  # the smallest of so small a gradient take more iterations
