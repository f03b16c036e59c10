"""What a checkpoint's weights must be beyond their names: finite, and one matrix where the config ties two."""

from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.checkpoint import header_of, tensors_of, weight_files


def check_finite(model: PreTrainedModel, source: Path) -> None:
    """Raise UserError where a weight holds NaN or infinity, which attention may hide from the logits.

    Args:
        model: with the weights of the checkpoint, in the precision in which it runs.
        source: folder of the checkpoint.
    """
    for name, weight in model.state_dict().items():
        if not weight.is_floating_point() or not weight.numel():
            continue
        ends = torch.stack(torch.aminmax(weight))  # one pass without a copy; NaN is both
        if not ends.isfinite().all():
            wrong = int((~weight.isfinite()).sum())
            raise UserError(
                f"{_file_of(name, source)}: {name} has {wrong} of {weight.numel()} values that are not finite in "
                f"{str(weight.dtype).removeprefix('torch.')}; get the file again, or another model.dtype where it overflows"
            )


def check_tied(model: PreTrainedModel, source: Path) -> None:
    """Raise UserError where the config ties the output head to the embedding, but the checkpoint holds two matrices."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or not model.config.get_text_config().tie_word_embeddings:
        return
    names = {id(module): f"{name}.weight" for name, module in model.named_modules()}
    of_head, of_embedding = names[id(head)], names[id(embedding)]
    if head.weight is not embedding.weight or not _equal(of_head, of_embedding, source):
        raise UserError(
            f"{_file_of(of_head, source)}: {of_head} differs from {of_embedding}, which config.json says it is "
            "(tie_word_embeddings=true); set that to false where the head is the model's own, or else take it out of the file"
        )


def _equal(first: str, second: str, source: Path) -> bool:
    """Whether two tensors of a checkpoint have the same values; one that is not in it differs from none."""
    files = [_file_of(name, source) for name in (first, second)]
    if source in files:
        return True
    tensors = []
    for name, file in zip((first, second), files, strict=True):
        if file.suffix == ".bin":
            tensors.append(tensors_of(file)[name])
            continue
        with safe_open(file, framework="pt") as stream:
            tensors.append(stream.get_tensor(name))
    return torch.equal(*tensors)


def _file_of(name: str, source: Path) -> Path:
    """The file that holds a tensor; the folder itself where transformers makes the tensor of others."""
    for file in weight_files(source):
        if file.suffix != ".json" and name in header_of(file):
            return file
    return source
