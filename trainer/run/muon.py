"""Muon: momentum whose matrices are orthogonalised before the step (Jordan et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# A quintic whose iteration brings every singular value near 1 (Jordan et al. 2024)
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix [M,N] with about the same singular vectors and singular values near 1 (0.7 to 1.2)."""
    a, b, c = _QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


class Muon(torch.optim.Optimizer):
    """Muon for convolutions and matrices, Adam for vectors.

    Args:
        module: whose trainable parameters are updated; of a convolution marked `per_frame` the last temporal tap.
        rate: learning rate of matrices; every update has about unit singular values.
        vector_rate: learning rate of biases, norms and `by_adam`.
        by_adam: prefixes of the names of matrices that Adam updates: output layers, whose columns are no directions.
        momentum: of the matrices, with Nesterov's look-ahead.
        betas: of Adam.
    """

    def __init__(
        self,
        module: nn.Module,
        rate: float,
        vector_rate: float,
        by_adam: tuple[str, ...] = (),
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        spatial: list[nn.Parameter] = []
        matrices: list[nn.Parameter] = []
        vectors: list[nn.Parameter] = []
        per_frame = {id(m.weight) for m in module.modules() if getattr(m, "per_frame", False)}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            is_matrix = parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > 1
            if is_matrix and max(parameter.shape[1:]) > 1 and not name.startswith(by_adam):
                (spatial if id(parameter) in per_frame else matrices).append(parameter)
            else:
                vectors.append(parameter)
        matrix = {"lr": rate, "momentum": momentum}
        groups = [
            {"params": spatial, "kind": "spatial", **matrix},
            {"params": matrices, "kind": "matrix", **matrix},
            {"params": vectors, "kind": "vector", "lr": vector_rate, "betas": betas},
        ]
        super().__init__([group for group in groups if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may return a loss
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["kind"] == "vector":
                    self._adam(parameter, parameter.grad, group["lr"], group["betas"])
                elif group["kind"] == "spatial":
                    self._muon(parameter, parameter[:, :, -1], parameter.grad[:, :, -1], group)
                else:
                    self._muon(parameter, parameter, parameter.grad, group)

    def _muon(self, parameter: nn.Parameter, values: Tensor, gradient: Tensor, group: dict) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(state["momentum"], alpha=group["momentum"]).flatten(1)
        # a tall matrix has more rows than its rank: scaled so that outputs move as much as with a square one
        gain = max(1.0, direction.shape[0] / direction.shape[1]) ** 0.5
        values.add_(orthogonalised(direction).view_as(values), alpha=-group["lr"] * gain)

    def _adam(self, parameter: nn.Parameter, gradient: Tensor, rate: float, betas: tuple[float, float]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - betas[0])
        state["square"].lerp_(gradient.square(), 1 - betas[1])
        mean = state["mean"] / (1 - betas[0] ** state["step"])
        square = state["square"] / (1 - betas[1] ** state["step"])
        parameter.addcdiv_(mean, square.sqrt().add_(1e-8), value=-rate)
