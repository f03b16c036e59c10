"""Blocks of models whose layers are called, lie in memory, or give their outputs in other ways than Llama's."""

from functools import lru_cache

import pytest
import torch
from small_models import LENGTHS, dense, variant

from hessian import starts
from hessian.blocks import choose, places_of
from hessian.products.adapters import AdapterHessian
from hessian.products.leaves import LeafHessian
from hessian.products.passes import Passes, decoder_layers
from lorabench.errors import UserError
from lorabench.models.load import load
from lorabench.models.shapes import linear_shapes, matrix, oriented
from lorabench.schema import ModelConfig, TrainerConfig
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus
from lorabench.training.loss import mean_loss
from lorabench.variants.targets import leaves

SETTINGS = TrainerConfig(512, 0.0, 1.0, 0.0, (0.9, 0.999), 1e-8, 10_000, 0.9, 10)
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
MODELS = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3} | TOKENS,
    "opt": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24, "word_embed_proj_dim": 16}
    | {"max_position_embeddings": 64, "init_std": 0.3}
    | TOKENS,
    "falcon": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3} | TOKENS,
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3} | TOKENS,
    "gpt_neox": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    | {"max_position_embeddings": 64, "initializer_range": 0.3},
}


@lru_cache
def base_of(name):
    """Of random weights; frozen, so that tests can share it."""
    spec = ModelConfig(name=name, weights="random", architecture={"model_type": name, "vocab_size": 512} | MODELS[name])
    return load(spec, torch.device("cpu"), torch.float32)


def calibration(base):
    return Calibration(Corpus([(f"{i} + {i}?", f" {2 * i}.") for i in range(8)], base.tokenizer, 64), range(8), SETTINGS)


def places(base):
    return [place for place in places_of(linear_shapes(base.spec)) if place.layer == 1]


@pytest.mark.parametrize("name", MODELS)
def test_a_pass_from_the_second_layer_on_has_the_loss_of_the_whole_model(name, examples):
    base = base_of(name)
    passes = Passes(base.model, examples, 1, base.tokenizer.pad_token_id)
    expected = mean_loss(base.model, examples, SETTINGS, base.tokenizer.pad_token_id)
    assert float(passes.loss(passes.batch(list(range(len(LENGTHS)))))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", ["lora", "pissa", "lora_ga"])
@pytest.mark.parametrize("name", MODELS)
def test_both_ways_and_the_dense_hessian_agree(name, method, examples, budget):
    base = base_of(name)
    names = [place.name for place in places(base)]
    built = variant(method, 2, target_modules=leaves(names))
    blocks = starts.factors(base, built, names, 0, calibration(base))
    vectors = [torch.randn(b.size, generator=torch.Generator().manual_seed(3), dtype=torch.float64) for b in blocks]
    passes = Passes(base.model, examples, 1, base.tokenizer.pad_token_id)
    products = LeafHessian(passes, names, budget).products(blocks, vectors)
    for block, vector, product in zip(blocks, vectors, products, strict=True):
        layer = base.model.get_submodule(block.name)

        def weight_of(theta, block=block, layer=layer):
            a, b = block.split(theta)
            return oriented(layer, matrix(layer).detach() + block.scale * (b @ a - block.lora_B @ block.lora_A))

        start = torch.cat([block.lora_A.flatten(), block.lora_B.flatten()])
        expected = dense(base, examples, block.name, weight_of, start).double() @ vector
        assert (product - expected).norm() <= 3e-4 * expected.norm()
    with starts.adapted_model(base, built, 0, calibration(base)) as model:
        assert starts.matrices(model, built) == list(linear_shapes(base.spec))
        for block in blocks:  # what a cell of this seed starts from is drawn otherwise
            layer = model.get_base_model().get_submodule(block.name)
            layer.lora_A["default"].weight.data.copy_(block.lora_A)
            layer.lora_B["default"].weight.data.copy_(block.lora_B)
            plain = layer.get_base_layer()
            pristine = oriented(plain, base.pristine[f"{block.name}.weight"])
            matrix(plain).data.copy_(pristine - block.scale * block.lora_B @ block.lora_A)
        parameters = [starts.parameters(model, built, name, [name]) for name in names]
        real = AdapterHessian(Passes(model, examples, 1, base.tokenizer.pad_token_id), parameters, budget)
        for product, through in zip(products, real.products(parameters, vectors), strict=True):
            assert (product - through).norm() <= 3e-4 * through.norm()


def test_matrices_of_one_name_in_a_layer_are_told_apart():
    model = places(base_of("gpt2"))
    assert [place.matrix for place in model] == ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]
    adapted = [place.name for place in model if "c_proj" in place.name]
    assert choose(model, adapted, None, None) == [place for place in model if "c_proj" in place.name]
    assert choose(model, adapted, ["mlp.c_proj"], "all") == [model[-1]]
    with pytest.raises(UserError, match=r"matrices: the model has no linear layer 'c_proj'"):
        choose(model, adapted, ["c_proj"], "all")


def test_layers_under_another_name_are_refused():
    class Odd(torch.nn.Module):
        def get_decoder(self):
            return torch.nn.Linear(1, 1)

    with pytest.raises(UserError, match=r"^Odd has its decoder layers under no known name"):
        decoder_layers(Odd())
