"""PEFT's DoRA magnitude with the row norms in float32, whatever the precision around them."""

import torch
from peft.tuners.lora.dora import DoraLinearLayer


class Float32Magnitude(DoraLinearLayer):
    """g [m] and the norm ‖W + s·BA‖_row [m] of one matrix, both in float32.

    PEFT takes g from the norm in the base's precision, and BA in that of the autocast region: with a bfloat16 base they are
    off by up to 2⁻⁸ each. It also multiplies A and B by an n × n identity, which costs more than BA itself.
    """

    def __init__(self, weight: torch.Tensor, transposed: bool = False):
        """Set g = ‖W‖_row from the whole W [m, n] that the layer starts with; ``transposed`` says that the layer holds Wᵀ."""
        super().__init__(fan_in_fan_out=transposed)
        self.weight = torch.nn.Parameter(torch.linalg.norm(weight.detach().float(), dim=1))

    def get_lora_weight(
        self, lora_A: torch.nn.Linear, lora_B: torch.nn.Linear, adapter_name: str | None = None
    ) -> torch.Tensor:
        """BA [m, n]; it only enters the norm, which carries no gradient."""
        with torch.no_grad(), torch.autocast(lora_A.weight.device.type, enabled=False):
            return lora_B.weight.float() @ lora_A.weight.float()
