"""What autograd keeps."""

from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks


class SavedBytes:
    """Within it, ``bytes`` counts what autograd saves for later derivatives: every storage once, the model's own not."""

    def __init__(self, model: torch.nn.Module):
        self.bytes = 0
        own = [*model.parameters(), *model.buffers()]
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in own}
        self._hooks = saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)
