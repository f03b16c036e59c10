"""Every tuner type of the installed PEFT: trained on the embedded model, merged or answering itself, saved and loaded, or the reason."""

import importlib.util
import json

import pytest
import torch
from peft import PeftModel, PeftType

from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator
from lorabench.models.shapes import linear_shapes
from lorabench.training.loop import train
from lorabench.training.seed import generator
from lorabench.variants import peft_types

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NEEDED = {  # what these types need, or what fits a model as small
    "ADAPTION_PROMPT": {"adapter_len": 8, "adapter_layers": 2},
    "C3A": {"block_size": 32},
    "CARTRIDGE": {"num_virtual_tokens": 8},
    "PREFIX_TUNING": {"num_virtual_tokens": 8},
    "PROMPT_TUNING": {"num_virtual_tokens": 8},
    "P_TUNING": {"num_virtual_tokens": 8},
    "ROAD": {"group_size": 32},
    "TRAINABLE_TOKENS": {"token_indices": list(range(40, 140))},
    "VBLORA": {"vector_length": 32, "num_vectors": 64},
}
SLOW = {
    "ADAPTION_PROMPT": 1e-1,
    "CARTRIDGE": 3e-2,
    "PREFIX_TUNING": 3e-2,
    "PROMPT_TUNING": 1e-1,
    "P_TUNING": 3e-2,
    "UNILORA": 1e-1,
}
"""Learning rates where 1e-2 moves nothing in a few steps."""
RUNS = sorted(kind.value for kind in PeftType if kind.value not in peft_types.LACKS)


@pytest.fixture
def variant(build):
    """A function from a type and its settings to the variant."""

    def make(kind, **config):
        return build("peft", peft_type=kind, config=NEEDED.get(kind, {}) | config)

    return make


@pytest.fixture
def trained(tiny, corpus, settings, variant, fresh, same_bits):
    """A function from a type to the variant, the adapted model and its losses; the model is the embedded one again afterwards."""
    attached = []

    def run(kind, steps=12):
        method = variant(kind)
        tiny.remember(method.touched(linear_shapes(tiny.spec)))
        model = method.attach(tiny.model, generator(0, "init"))
        attached.append((method, model))
        schedule = [list(range(8))] * steps
        done = train(
            model, method, corpus, schedule, lr=SLOW.get(kind, 1e-2), settings=settings(warmup_ratio=0.0), dropout_seed=0
        )
        return method, model, done.loss

    yield run
    for method, model in attached:
        method.detach(model)
    if attached:
        tiny.restore()
        untouched = fresh("tiny").model
        assert same_bits(tiny.model, untouched)
        strides = [[p.stride() for p in model.parameters()] for model in (tiny.model, untouched)]
        assert strides[0] == strides[1]  # products of a matrix that lies otherwise in memory round otherwise


def logits_of(model, tokenizer):
    ids = tokenizer("Q: Ada has 23 books. Ada buys 14 more. How many?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(input_ids=ids).logits[:, -ids.shape[1] :]


@pytest.mark.parametrize("kind", RUNS)
def test_each_type_learns_and_comes_out_whole(kind, trained, tiny, tmp_path, fresh, relative):
    if kind == "ADAMSS" and not importlib.util.find_spec("sklearn"):
        pytest.skip("ADAMSS needs scikit-learn")
    untouched = logits_of(tiny.model, tiny.tokenizer)
    method, model, losses = trained(kind)
    assert losses[-1] < losses[0], losses
    learned = logits_of(model, tiny.tokenizer)
    assert relative(learned, untouched) > 1e-3
    if method.mergeable:
        plain = fresh("tiny")
        merged = method.merged(model)
        assert torch.equal(logits_of(model, tiny.tokenizer), learned)  # merging left the model as it was
        plain.assign(merged)
        assert relative(logits_of(plain.model, tiny.tokenizer), learned) <= 1e-4
    else:
        hf = HFGenerator(name="hf", batch_tokens=512)
        hf.load(fresh("tiny"))
        pair = (list(range(60, 80)), list(range(80, 90)))
        [(before, _)] = hf.loglikelihoods([pair])
        hf.use_adapted(model)
        [(after, _)] = hf.loglikelihoods([pair])
        assert len(hf.generate(["Q: 3 + 4 = ?"], 8)) == 1
        hf.use_adapted(None)
        assert abs(after - before) > 1e-3
        with torch.no_grad():
            ids = torch.tensor([pair[0] + pair[1]])
            logs = model(input_ids=ids).logits[0, -ids.shape[1] :].log_softmax(-1)[19:-1]
        assert after == pytest.approx(float(logs.gather(1, ids[0, 20:, None]).sum()), rel=1e-4)
    method.save(model, tmp_path)
    loaded = PeftModel.from_pretrained(fresh("tiny").model, tmp_path).eval()
    assert relative(logits_of(loaded, tiny.tokenizer), learned) <= 1e-4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": 0}, "variant.alpha=0 must be positive"),
        ({"alpha": -3}, "variant.alpha=-3 must be positive"),
        ({"dropout": -0.1}, r"variant.dropout=-0.1 must lie in \[0, 1\)"),
        ({"rank": 0}, "rank=0 must be at least 1"),
    ],
)
def test_what_all_adapters_have_is_checked_as_theirs(fields, message, build, tiny):
    with pytest.raises(UserError, match=message):
        build("peft", peft_type="LORA", **fields).check(linear_shapes(tiny.spec))


def test_a_folder_of_an_adapter_is_read_and_its_modules_must_agree(build, tiny, tmp_path):
    stated = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(stated))
    fields = {"peft_type": None, "config": str(tmp_path), "rank": 8, "alpha": 8}
    assert build("peft", **fields).trainable_parameters(linear_shapes(tiny.spec)) == 4 * 8 * 256
    with pytest.raises(UserError, match=r"has target_modules=\['q_proj'\]; leave variant.target_modules out"):
        build("peft", **fields, target_modules=["v_proj"]).check(linear_shapes(tiny.spec))
    (tmp_path / "adapter_config.json").write_text(json.dumps(stated | {"peft_type": 5}))
    with pytest.raises(UserError, match="has no peft_type"):
        build("peft", **fields).check(linear_shapes(tiny.spec))


@pytest.mark.parametrize("kind", sorted(peft_types.LACKS))
def test_what_cannot_run_says_what_it_lacks(kind, variant, tiny):
    with pytest.raises(UserError, match=f"variant.peft_type={kind} cannot be trained here: it"):
        variant(kind).check(linear_shapes(tiny.spec))


def test_every_type_of_the_installed_peft_is_one_or_the_other():
    assert {kind.value for kind in PeftType} == set(RUNS) | set(peft_types.LACKS)


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("BOF", {}, "variant.peft_type=BOF is none of PEFT's; did you mean 'BOFT'"),
        (None, {}, "variant.peft_type is missing"),
        (
            "BOFT",
            {"boft_blok_size": 4},
            "variant.config.boft_blok_size: BOFT has no such setting; did you mean 'boft_block_size'",
        ),
        ("LORA", {"target_modules": ["q_proj"]}, "variant.config.target_modules=.*: write variant.target_modules=… instead"),
        ("C3A", {"block_size": 100}, "variant.peft_type=C3A: .*block size"),
        ("TRAINABLE_TOKENS", {"token_indices": []}, "trains nothing on this model"),
        ("LORA", {"r": 4}, "variant.config.r=4: write rank=… instead"),
        ("LORA", {"lora_alpha": 4}, "variant.config.lora_alpha=4: write variant.alpha=… instead"),
        ("LORA", {"lora_dropout": 0.1}, "variant.config.lora_dropout=0.1: write variant.dropout=… instead"),
        ("LORA", {"use_rslora": "no"}, "variant.config.use_rslora=no must be true or false"),
        ("LORA", {"init_lora_weights": "eva"}, "variant.config.init_lora_weights=eva starts from data or weights"),
        ("LORA", {"modules_to_save": ["lm_head"]}, "modules_to_save=.* changes more than the adapted modules"),
        ("LORA", {"lora_bias": True}, "lora_bias=True changes more than the adapted modules"),
        ("LORA", {"bias": "all"}, "bias=all changes more than the adapted modules"),
        ("BOFT", {"boft_block_size": -4}, "variant.config.boft_block_size=-4 must not be negative"),
        ("PREFIX_TUNING", {}, r"needs the length of its prompt: \+variant.config.num_virtual_tokens=20"),
    ],
)
def test_wrong_settings_are_one_line_before_training(kind, config, message, build, tiny):
    method = build("peft", peft_type=kind, config=config)
    with pytest.raises(UserError, match=message) as caught:
        method.check(linear_shapes(tiny.spec))
    assert "\n" not in str(caught.value)


def test_a_file_as_peft_writes_it_is_the_same_method(trained, build, tiny, tmp_path, composed):
    method, model, _ = trained("BOFT", steps=2)
    method.save(model, tmp_path)
    written = tmp_path / "adapter_config.json"
    again = build("peft", peft_type=None, config=str(written))
    changed = tmp_path / "changed.json"
    lora = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["q_proj"]}
    for key, other, line in (
        ("r", 4, "rank=4"),
        ("lora_alpha", 16, "variant.alpha=16"),
        ("lora_dropout", 0.1, "variant.dropout=0.1"),
    ):
        changed.write_text(json.dumps(lora | {key: other}))
        with pytest.raises(UserError, match=f"has {key}={other}; write {line} too"):
            build("peft", config=str(changed)).check(linear_shapes(tiny.spec))
    changed.write_text(json.dumps(lora))
    assert build("peft", config=str(changed)).targets(linear_shapes(tiny.spec)) == [
        f"model.layers.{i}.self_attn.q_proj" for i in range(4)
    ]
    assert composed("peft", f"variant.config={written}")["name"] == "peft-boft"
    settings = [config.to_dict() for config in (method.peft_config(), again.peft_config())]
    chosen = [
        {key: value for key, value in each.items() if key not in ("base_model_name_or_path", "inference_mode")}
        for each in settings
    ]
    assert json.dumps(chosen[0], default=sorted) == json.dumps(chosen[1], default=sorted)
    with pytest.raises(UserError, match="the model has no module 'q_prj'; did you mean 'q_proj'"):
        build("peft", peft_type="LORA", target_modules=["v_proj", "q_prj"]).check(linear_shapes(tiny.spec))
    with pytest.raises(UserError, match="leave one of them out"):
        build("peft", peft_type="LORA", config=str(written)).check(linear_shapes(tiny.spec))
    with pytest.raises(UserError, match="cannot be read"):
        build("peft", config=str(tmp_path / "none.json")).check(linear_shapes(tiny.spec))


def test_common_settings_reach_the_types_that_have_them(build):
    lora = build("peft", rank=4, peft_type="LORA", alpha=6, dropout=0.1).peft_config()
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, set(lora.target_modules)) == (4, 6, 0.1, set(SEVEN))
    chosen = build("peft", rank=4, peft_type="LORA", target_modules=["v_proj"]).peft_config()
    assert (chosen.r, set(chosen.target_modules)) == (4, {"v_proj"})
    with pytest.raises(UserError, match="HRA drops no input"):
        build("peft", peft_type="HRA", dropout=0.1).peft_config()


def test_what_is_drawn_for_nothing_leaves_the_masks_of_training_alone(trained, tiny):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _, model, _ = trained("LOHA", steps=4)  # refused by the trainer, if its forward passes drew
    assert torch.equal(torch.get_rng_state(), before)
    model.train()
    logits_of(model, tiny.tokenizer)
    assert torch.equal(torch.get_rng_state(), before)


def test_peft_lora_trains_as_many_values_as_lora(build, tiny):
    shapes = linear_shapes(tiny.spec)
    assert build("peft", peft_type="LORA").trainable_parameters(shapes) == build("lora").trainable_parameters(shapes)
