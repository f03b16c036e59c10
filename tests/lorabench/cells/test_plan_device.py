"""plan_device: hours, memory and disk by counted operations, against the same counts made by hand, and corrected by records."""

import math

import pytest

from lorabench.cells.elsewhere import forecast
from lorabench.cells.elsewhere.hardware import DEVICES, hardware, reported_as
from lorabench.cells.plan import describe
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes

LLAMA = ["model=llama-2-7b", "task=math", "train_samples=100000", "rank=128", "batch_size=128"]


def test_operations_are_those_of_the_linear_layers(cell):
    made, device = cell(*LLAMA, "variant=full"), DEVICES["h100"]
    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    training, _ = forecast.seconds(made, 10**6, device)
    head = 0.5 * 4096 * 32000
    assert training == pytest.approx(10**6 * (6 * linear + 4 * head) / (0.35 * 989e12))
    lora, _ = forecast.seconds(cell(*LLAMA), 10**6, device)
    trained = 128 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert lora == pytest.approx(10**6 * (4 * (linear + head) + 2 * trained) / (0.35 * 989e12))
    again, _ = forecast.seconds(cell(*LLAMA, "trainer.gradient_checkpointing=true"), 10**6, device)
    assert again - lora == pytest.approx(10**6 * 2 * linear / (0.35 * 989e12))


def test_precision_quantisation_and_checkpointing_change_the_memory(cell):
    def parts(*words):
        return forecast.bytes_of(cell(*LLAMA, *words))

    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    half, whole = parts("model.dtype=bfloat16"), parts("model.dtype=float32")
    assert whole["weights"] == 4 * (linear + 2 * 32000 * 4096 + 65 * 4096)
    assert 1.5 * half["weights"] < whole["weights"] and whole["activations"] == 2 * half["activations"]
    rest = half["weights"] - sum(
        size for name, size in forecast.weight_bytes(cell(*LLAMA).model, forecast.torch.bfloat16).items() if "_proj" in name
    )
    assert parts("model.quantization=nf4")["weights"] == pytest.approx(rest + 0.5625 * linear)
    assert parts("model.quantization=int8")["weights"] == pytest.approx(rest + linear)
    tokens, block = 4096, (10 * 4096 + 4 * 11008) * 2
    kept = parts("trainer.gradient_checkpointing=true", "trainer.micro_batch_tokens=4096")["activations"]
    assert kept == tokens * (block + 31 * 4096 * 2)


@pytest.mark.parametrize(("scorer", "answers"), [("number", True), ("loss", False)])
def test_answers_of_ones_own_data_are_those_that_are_generated(cell, tmp_path, scorer, answers):
    (tmp_path / "sums.csv").write_text("question,answer\n" + "".join(f"{n} + 1?,{n + 1}\n" for n in range(200)))
    made = cell("task=custom", f"task.train={tmp_path / 'sums.csv'}", f"task.scorer={scorer}")
    problems = len(made.task.validation_examples()) + len(made.task.test_examples())
    assert problems > 30 and forecast._problems(made) == (problems if answers else 0)
    assert (forecast.seconds(made, 0, DEVICES["h100"])[1] > 0) is answers


def test_answers_read_all_weights_once_a_token(cell):
    made, device = cell(*LLAMA, "task.test_samples=50", "task.validation_samples=500"), DEVICES["a100"]
    _, answering = forecast.seconds(made, 0, device)
    weights = sum(forecast.weight_bytes(made.model, forecast.torch.bfloat16).values())
    assert answering == pytest.approx(math.ceil(600 / 64) * 1024 * weights / (0.5 * 2.04e12))


def test_full_fine_tuning_of_seven_billion_values_does_not_fit_where_lora_does(cell):
    parts = {name: forecast.bytes_of(cell(*LLAMA, f"variant={name}")) for name in ("lora", "full")}
    trained = sum(math.prod(shape) for shape in linear_shapes(cell(*LLAMA).model).values())
    assert parts["full"]["optimizer"] == 8 * trained and parts["full"]["gradients"] == 4 * trained
    assert sum(parts["lora"].values()) < 80e9 < sum(parts["full"].values())


def test_the_plan_says_it_with_its_assumptions(cell):
    [*_, hours, assumed, memory, disk, last] = describe([cell(*LLAMA, "plan_device=h100", "device=cuda")]).splitlines()
    assert hours.startswith("  on h100: ") and hours.endswith(" h in one process")
    assert "35% of its matrix products in training" in assumed
    assert "GB of 80, which fits (weights 1" in memory and "optimizer" in memory
    assert disk.startswith("    disk: ") and "looked at when it runs" in last


def test_memory_and_disk_are_said_without_the_length_of_the_data(cell):
    made = cell(*LLAMA, "trainer.micro_batch_tokens=8192")
    unknown, memory, disk = forecast.lines([made], [None], [], DEVICES["h100"])
    assert "hours are unknown until" in unknown and disk.startswith("    disk: ")
    assert "micro-batches of 8192 tokens" in memory and "GB while it answers" in memory


def test_finished_cells_correct_it(cell):
    done, todo = cell(*LLAMA), cell(*LLAMA, "seed=1")
    tokens = 10**6
    training, answering = forecast.seconds(done, tokens, DEVICES["h100"])
    took = {"seconds": 3 * (training + answering) - 1.0, "tokens": tokens}
    record = {"id": "x", "training": took, "evaluation": {"seconds": 1.0}, "device": {"name": "NVIDIA H100 80GB HBM3"}}
    [first, *_] = forecast.lines([todo], [tokens], [(done, record)], DEVICES["a100"])
    assert "as 1 finished cells correct it (x 3)" in first
    unknown = record | {"device": {"name": "Some other card"}}
    assert "correct" not in forecast.lines([todo], [tokens], [(done, unknown)], DEVICES["a100"])[0]


def test_devices_are_told_by_the_names_that_torch_gives():
    names = {
        "NVIDIA A100-SXM4-80GB": "a100",
        "NVIDIA A100-SXM4-40GB": "a100-40gb",
        "NVIDIA GeForce RTX 4090": "4090",
        "Tesla T4": "t4",
    }
    names |= {"NVIDIA L4": "l4", "NVIDIA L40S": "l40s", "NVIDIA H200": "h200"}
    assert {name: reported_as(name).name for name in names} == names
    assert reported_as("AMD EPYC") is None


def test_unknown_devices_and_lengths_are_said(cell):
    with pytest.raises(UserError, match=r"plan_device=h10 is none of those known here; did you mean 'h100'"):
        hardware("h10")
    assert "unknown until the data are at hand" in forecast.lines([cell(*LLAMA)], [None], [], DEVICES["h100"])[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "0.5 min"), (3600, "1.0 h"), (48 * 3600, "48.0 h"), (49 * 3600, "2.0 days")]
)
def test_hours_become_days_above_48(seconds, text):
    assert forecast.duration(seconds) == text
