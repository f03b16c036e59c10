"""``seed`` and ``data_seed``: what each decides, in the data and in a cell's name, and the paper's first rows."""

import pytest

from lorabench.cells.run import run
from lorabench.cells.stages import prepare_data
from lorabench.files import digest, write_json
from lorabench.models.fingerprint import fingerprint_of_schema_1
from lorabench.records.legacy import legacy_id

SMALL = ["train_samples=48", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


@pytest.fixture
def data(cell):
    """A function from overrides to a cell's data."""

    def prepare(*overrides):
        made = cell(*SMALL, *overrides)
        return prepare_data(made, made.base())

    return prepare


def test_by_default_the_seed_decides_all_of_it(data):
    first, same, other = data("seed=1"), data("seed=1", "data_seed=1"), data("seed=2")
    assert (first.samples, first.batches) == (same.samples, same.batches)
    assert set(first.samples) != set(other.samples) and first.batches != other.batches


@pytest.mark.parametrize("subset", ["random", "tsds"])
def test_a_data_seed_makes_one_subset_and_order_of_all_seeds(data, subset):
    words = [f"subset={subset}", "train_fraction=0.5", "subset.neighbours=10"][: 3 if subset == "tsds" else 2]
    first, second, other = (data(f"seed={s}", f"data_seed={d}", *words) for s, d in ((1, 0), (2, 0), (1, 3)))
    assert (first.samples, first.batches) == (second.samples, second.batches)
    assert first.samples != other.samples and first.batches != other.batches


def test_the_start_still_follows_the_seed(cell):
    cells = [cell(*SMALL, f"seed={s}", "data_seed=0") for s in (1, 2)]
    for made in cells:
        run(made)
    losses = [[loss for _, loss in made.record()["training"]["loss"]] for made in cells]
    assert losses[0][:2] == losses[1][:2]  # B = 0, and the first step at rate 0: the same batches
    assert losses[0][2:] != losses[1][2:]
    assert cells[0].record()["identity"]["data_seed"] == cells[0].record()["config"]["data_seed"] == 0
    assert str(cells[0]).endswith("seed=1 data_seed=0")


def test_it_is_part_of_a_cells_name_only_where_it_is_another_number(cell):
    plain, same, other = cell(*SMALL), cell(*SMALL, "data_seed=0"), cell(*SMALL, "data_seed=1")
    assert "data_seed" not in plain.identity and other.identity["data_seed"] == 1
    assert plain.id == same.id != other.id and str(plain).endswith("seed=0")
    assert cell(*SMALL, "seed=1", "data_seed=1").id == cell(*SMALL, "seed=1").id != cell(*SMALL, "seed=1", "data_seed=0").id
    of_model = fingerprint_of_schema_1(plain.model)
    assert legacy_id(plain.config, plain.identity, of_model) == legacy_id(same.config, same.identity, of_model)


@pytest.mark.parametrize(
    "words",
    [
        ["variant.dropout=0.1"],
        ["subset=first", "variant=lora_ga"],
        ["subset=tsds", "subset.neighbours=10", "train_fraction=0.5", "variant=pissa"],
        ["variant=randlora"],
    ],
    ids=" ".join,
)
def test_the_same_number_gives_the_same_bits(cell, tmp_path, words):
    """So that one id is right."""
    bits = []
    for place, stated in enumerate((["data_seed=1"], [])):
        made = cell(*SMALL, "seed=1", "save_adapter=true", *words, *stated, f"output_dir={tmp_path / str(place)}")
        run(made)
        record = made.record()
        trained = (made.folder / "trained.safetensors").read_bytes()
        bits.append((record["training"]["loss"], record["training"]["grad_norm"], record["metrics"], trained))
    assert bits[0] == bits[1]


def test_a_cell_that_had_an_id_of_its_own_is_not_trained_again(cell):
    made = cell(*SMALL, "data_seed=0")
    score = run(made)
    identity = made.identity | {"data_seed": 0}
    before = made.folder.with_name(digest(identity))
    write_json(made.folder / "record.json", made.record() | {"identity": identity, "id": before.name})
    made.folder.rename(before)
    for again in (cell(*SMALL, "data_seed=0"), cell(*SMALL)):
        assert again.folder == before and run(again) == score
    assert not made.folder.exists()


def test_the_first_rows_are_the_same_for_every_seed(data):
    first, second = data("subset=first", "seed=1"), data("subset=first", "seed=2", "train_fraction=0.25")
    assert first.samples == list(range(48)) and second.samples == list(range(12))
    assert sorted(first.batches[0]) != list(range(8))  # in an order of chance
    assert data("subset=first", "train_samples=null").samples[:3] == [0, 1, 2]


def test_they_are_other_cells_also_where_nothing_is_left_out(cell):
    plain, first = cell(*SMALL), cell(*SMALL, "subset=first")
    assert plain.id != first.id and first.identity["sampling"]["name"] == "first"
    assert "sampling" not in plain.identity and "subset" not in first.identity
    of_model = fingerprint_of_schema_1(plain.model)
    assert legacy_id(plain.config, plain.identity, of_model) != legacy_id(first.config, first.identity, of_model)
    proxies = [cell(*SMALL, "train_fraction=0.5", f"subset={name}") for name in ("random", "first")]
    assert [made.identity["subset"]["name"] for made in proxies] == ["random", "first"]


@pytest.mark.parametrize("name", ["gemma_math_lrsweep", "qwen_instruct", "llama7b_code", "math_duration"])
def test_experiments_of_paper_1_share_data_and_order(cell, name):
    made = cell(f"+experiment={name}")
    assert made.data_seed == 42 and made.config["subset"]["name"] == "first"


@pytest.mark.parametrize("name", ["tiny_variants", "llama7b_math_search"])
def test_those_of_ours_do_not(cell, name):
    made = cell(f"+experiment={name}")
    assert made.config["data_seed"] is None and made.config["subset"]["name"] == "random"
