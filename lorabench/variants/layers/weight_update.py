"""An update that is a function of the factors as a matrix, in the place of PEFT's product of A and B."""

from abc import abstractmethod
from typing import Any

import torch
from peft.tuners.lora.layer import LoraVariant
from torch.nn.functional import linear


class WeightUpdate(LoraVariant):
    """y = Wx + ΔW·drop(x), with ΔW [m, n] from ``update``; PEFT's layer calls it in forward passes and when it merges."""

    @abstractmethod
    def update(self, layer: Any) -> torch.Tensor:
        """ΔW [m, n] of one of PEFT's LoRA layers, in float32."""

    def forward(  # type: ignore[override]
        self, module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """The layer's output [..., m], of its input x [..., n] and the base's output ``result``.

        ΔW is made in float32 also in an autocast region, whose precision the product with x has.
        """
        with torch.autocast(x.device.type, enabled=False):
            update = self.update(module)
        return result + linear(module.lora_dropout[active_adapter](x), update)

    @torch.no_grad()
    def merge_unsafe(self, module: Any, active_adapter: str, orig_weight: torch.Tensor) -> None:  # type: ignore[override]
        """Add ΔW to the base's weight in place; a layer of Conv1D holds Wᵀ."""
        weight = orig_weight.T if module.fan_in_fan_out else orig_weight
        weight.copy_(weight.float() + self.update(module))
