import torch

from lorabench.generation.hf import HFGenerator


def test_batched_generation_equals_one_by_one_in_order(tiny, arithmetic):
    prompts = [arithmetic.prompt(e) for e in arithmetic.test_examples()]
    texts = []
    for tokens in (1, 500, 100_000):  # one prompt a batch, a few, all
        generator = HFGenerator(name="hf", batch_tokens=tokens)
        generator.load(tiny)
        texts.append(generator.generate(prompts, 24))
    assert texts[0] == texts[1] == texts[2]
    by_hand = tiny.model.generate(
        **tiny.tokenizer(prompts[3], return_tensors="pt", return_token_type_ids=False), max_new_tokens=24, do_sample=False
    )
    start = len(tiny.tokenizer(prompts[3])["input_ids"])
    assert texts[0][3] == tiny.tokenizer.decode(by_hand[0, start:], skip_special_tokens=True)


def test_merged_weights_are_served_and_the_base_comes_back(tiny, adapted, lora, arithmetic):
    prompts = [arithmetic.prompt(e) for e in arithmetic.test_examples()]
    merged = lora.merged(adapted)
    with torch.no_grad():
        for p in merged.values():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    lora.detach(adapted)
    generator = HFGenerator(name="hf", batch_tokens=10_000)
    generator.load(tiny)
    base = generator.generate(prompts, 16)
    generator.use(merged)
    changed = generator.generate(prompts, 16)
    generator.use(None)
    assert changed != base
    assert generator.generate(prompts, 16) == base
