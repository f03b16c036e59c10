"""The report in headless Chromium: it renders without an error, sorts, filters, opens cells, and runs nothing of theirs."""

import hashlib
import itertools
import json
import math
import re
import shutil

import pytest

from analysis.published import FOLDER as PUBLISHED
from analysis.read.blocks import load_blocks
from analysis.read.journals import Search
from analysis.read.load import load_records
from analysis.report.data import tree
from analysis.report.page import write as write_page

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install -e '.[dev]')")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)"
)
HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900")


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, runs, write, complete, tmp_path):
    """`show()` opens the report of two variants, three learning rates and two seeds; afterwards nothing may be on the console."""

    def show(fragment="", failed=True, **options):
        for seed in (0, 1):
            for lr, lora, pissa in [(2e-4, 0.1, 0.8), (2e-3, 0.9, 0.95), (2e-2, 0.6, 0.0)]:
                for name, test in (("lora", lora), ("pissa", pissa)):
                    training = {"steps": 2, "seconds": 4.2, "loss": [[1, 2.31], [2, 2.2]]}
                    sharpness = [{"step": s, "blocks": [{"lambda_max": 2.0 + s}, {"lambda_max": 3.0}]} for s in (0, 2)]
                    complete(write(name, lr, seed, test, training=training, sharpness=sharpness), test, HOSTILE)
        if failed:
            write("pissa", 6e-2, 1, status="failed", metrics=None, error=HOSTILE)
        page = tmp_path / "report.html"
        write_page(tree(load_records(runs), **options), page)
        browser.get("about:blank")
        browser.get(f"file://{page}{fragment}")
        return browser

    yield show
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def texts(browser, selector):
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)


def click(browser, selector, **init):
    browser.execute_script(
        "document.querySelector(arguments[0]).dispatchEvent(new MouseEvent('click', {bubbles: true, ...arguments[1]}))",
        selector,
        init,
    )


def fill(browser, selector, value, event):
    script = (
        "const one = document.querySelector(arguments[0]); one.value = arguments[1]; one.dispatchEvent(new Event(arguments[2]))"
    )
    browser.execute_script(script, selector, value, event)


def waits(browser, script, *arguments):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(f"return {script}", *arguments))


def cells(browser):
    return texts(browser, "#cells tbody tr td:last-child")


def test_it_renders(show):
    browser = show()
    assert waits(browser, "document.querySelectorAll('#curves svg.chart .curve').length") == 2
    assert texts(browser, "h1") == ["LoRA variants on tiny · arithmetic"]
    assert "12 cells on tiny" in texts(browser, ".summary")[0]
    assert texts(browser, "h2")[1:] == [
        "Score over the learning rate", "Peaks with intervals", "Against LoRA", "Cells", "Costs", "Rules of practice",
        "One problem, side by side",
    ]  # fmt: skip
    assert len(cells(browser)) == 13
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_tables_sort_both_ways_with_gaps_last(show):
    browser = show()
    column = "#cells thead th:nth-child(5)"
    assert texts(browser, f"{column} button")[0].startswith("test %")
    scores = [0.95, 0.95, 0.9, 0.9, 0.8, 0.8, 0.6, 0.6, 0.1, 0.1, 0, 0]
    shown = [f"{100 * score:.2f}" for score in scores]
    assert texts(browser, "#cells tbody td:nth-child(5)") == [*shown, "–"]
    click(browser, f"{column} button")
    assert texts(browser, "#cells tbody td:nth-child(5)") == [*reversed(shown), "–"]
    assert (
        browser.execute_script("return document.querySelector(arguments[0]).getAttribute('aria-sort')", column) == "ascending"
    )
    click(browser, "#cells thead th:nth-child(2) button")
    assert texts(browser, "#cells tbody td:nth-child(2)")[:3] == ["2e-4"] * 3


def test_cells_are_filtered_by_words_and_by_menus(show):
    browser = show()
    fill(browser, "#filter", "PISSA lr=2e-3", "input")
    assert len(cells(browser)) == 2 and set(texts(browser, "#cells tbody td:first-child")) == {"pissa"}
    assert texts(browser, "#cells .told") == ["1 to 2 of 2 cells (of 13)"]
    fill(browser, "#filter", "nothing such", "input")
    assert texts(browser, "#cells tbody td") == ["no cell matches"]
    fill(browser, "#filter", "", "input")
    fill(browser, "#filter-status", "failed", "change")
    assert len(cells(browser)) == 1
    fill(browser, "#filter-variant", "lora", "change")
    assert texts(browser, "#cells tbody td") == ["no cell matches"]


def test_a_word_of_the_filter_is_a_name_or_a_whole_value(browser, runs, write, tmp_path):
    for name, options in (("lora", {}), ("rslora", {}), ("lora", {"alpha": 16})):
        for lr in (2e-4, 6.3246e-4):
            for seed in (0, 10):
                write(name, lr, seed, 0.5, config={"variant": {"name": name, "alpha": 8} | options})
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    count = {
        "lora alpha=8 lr=2e-4 seed=0": 1, "lr=6.3246e-4": 6, "lr=6.325e-4": 6, "lr=0.0002": 6, "lr=2e-3": 0, "seed=1": 0, "seed=10": 6,
        "rslora": 4, "rslo": 4, "lora": 8, "lora alpha=16": 4, "alpha=1": 0, "rank=8": 12, "rank=80": 0, "seed=": 12, "none=1": 0,
    }  # fmt: skip
    for words, expected in count.items():
        fill(browser, "#filter", words, "input")
        listed = [cell for cell in cells(browser) if cell != "no cell matches"]
        assert len(listed) == expected, words


def test_a_variant_s_name_in_the_filter_is_that_variant(browser, runs, write, tmp_path):
    for name in ("lora", "rslora"):
        for seed in (0, 1):
            write(name, 2e-4, seed, 0.5)
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    fill(browser, "#filter", "LoRA lr=2e-4 seed=0", "input")
    assert texts(browser, "#cells tbody td:first-child") == ["lora"]


def test_long_tables_have_pages(show, write):
    for seed in range(2, 112):
        write("lora", 2e-3, seed, 0.5)
    browser = show()
    assert len(cells(browser)) == 50 and texts(browser, "#cells .told") == ["1 to 50 of 123 cells"]
    first = cells(browser)
    for expected in (50, 23):
        click(browser, "#cells .pager button:last-child")
        assert len(cells(browser)) == expected and not set(cells(browser)) & set(first)
    assert browser.execute_script("return document.querySelector('#cells .pager button:last-child').disabled")


def test_a_paper_s_cells_have_no_empty_columns(browser, tmp_path):
    write_page(tree(load_records(PUBLISHED)), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    heads = texts(browser, "#cells thead th")
    assert "test %▼" in heads and not {"validation %", "training s"} & set(heads)


def test_on_a_phone_the_way_to_a_cell_stays_in_view(show):
    browser = show()
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
        scroll = "document.querySelector('#cells .scroll')"
        assert browser.execute_script(f"return {scroll}.scrollWidth > {scroll}.clientWidth")
        right = "document.querySelector('#cells tbody td a').getBoundingClientRect().right"
        assert 0 < browser.execute_script(f"return {right}") < 390
        # Nor does it cover the learning rate, and a marker stands beside its name.
        rooms = """const row = document.querySelector('#cells tbody tr'), room = (one) => one.getBoundingClientRect();
            const name = document.createRange(); name.selectNodeContents(row.querySelector('.variant').lastChild);
            return [room(row.cells[1]).right - room(row.lastChild).left, room(name).left - room(row.querySelector('.swatch')).right]"""
        covered, apart = browser.execute_script(rooms)
        assert covered <= 1 and apart > 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_long_names_are_whole_or_shortened_and_never_widen_the_page(browser, runs, write, complete, tmp_path):
    names = [f"lora alpha={2**i}, dropout=0.{i}, target_modules=q_proj" for i in range(3)]
    for seed in (0, 1):
        for name in ("lora", *names):
            for lr, test in ((2e-4, 0.8), (2e-3, 0.9)):
                complete(write(name, lr, seed, test), test)
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    try:
        for width in (390, 1400):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(f"file://{tmp_path / 'report.html'}")
            waits(browser, "document.querySelector('#differences svg.chart .name')")
            assert browser.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            cut = """return [...document.querySelectorAll("svg.chart text")].filter((one) => {
                const [text, chart] = [one, one.ownerSVGElement].map((each) => each.getBoundingClientRect());
                return text.left < chart.left - 1 || text.right > chart.right + 1; }).map((one) => one.textContent)"""
            assert browser.execute_script(cut) == []
            assert set(names) <= set(texts(browser, "#differences svg.chart .name title"))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_five_thousand_cells_are_filtered_and_sorted(browser, runs, write, tmp_path):
    for seed in range(4):
        write("lora", 2e-3, seed, 0.5)
    data = tree(load_records(runs))
    cells, score = data["cells"], data["cells"]["columns"].index("test")
    for i in range(4, 5_000):
        line = [hashlib.md5(str(i).encode()).hexdigest()[:16], *cells["rows"][i % 4][1:]]
        line[score] = i * 7 % 5_000 / 5_000
        cells["rows"].append(line)
        cells["details"].append(cells["details"][i % 4])
    write_page(data, tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    assert texts(browser, "#cells .told") == ["1 to 50 of 5,000 cells"]
    fill(browser, "#filter", "seed=1 lora", "input")
    assert texts(browser, "#cells .told") == ["1 to 50 of 1,250 cells (of 5,000)"]
    seed = cells["columns"].index("seed")
    falling = [f"{100 * value:.2f}" for value in sorted((row[score] for row in cells["rows"] if row[seed] == 1), reverse=True)]
    column = "#cells tbody td:nth-child(5)"
    assert texts(browser, column) == falling[:50]
    click(browser, "#cells thead th:nth-child(5) button")
    assert texts(browser, column) == falling[::-1][:50]


def test_a_verdict_of_one_seed_says_so(browser, runs, answered, tmp_path):
    answered("lora", 2e-3, 0, [0.0] * 180 + [1.0] * 20)
    answered("pissa", 2e-3, 0, [0.0] * 20 + [1.0] * 180)
    answered("lora", 2e-4, 0, [0.0] * 200)
    answered("lora", 2e-3, 1, [0.0] * 180 + [1.0] * 20)
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    waits(browser, "document.querySelector('#differences tbody')")
    assert texts(browser, "#differences .verdict") == ["≠ different†"]
    lines = texts(browser, "#differences .gap")
    assert lines == [
        "†, 1: one seed, so interval and verdict are of these trained models alone.",
        "Seeds that one of both has alone, left out: pissa 1.",
    ]
    assert "With one seed, 1 of these hold for these trained models alone." in browser.find_element("tag name", "body").text


def test_halves_are_rounded_as_in_the_tables(browser, runs, write, tmp_path):
    """JavaScript's toFixed rounds 2.125 up, Python to the even digit."""
    values = [0.02125, 0.02135, 0.00625, 0.5, 0.99995, 0.123456, 1.0]
    for seed, value in enumerate(values):
        write("lora", 2e-3, seed, value)
    page = tmp_path / "halves.html"
    write_page(tree(load_records(runs)), page)
    browser.get(f"file://{page}")
    assert {f"{100 * value:.2f}" for value in values} <= set(texts(browser, "#cells td"))


def test_what_selects_stands_above_its_scores(browser, runs, write, tmp_path):
    for seed in (0, 1):
        for lr in (2e-3, 6e-3):
            write("lora", lr, seed, 0.5, validation_loss=1.0)
    for select_by, columns in (("validation", ["validation %"]), ("validation_loss", ["validation_loss %"]), ("test", [])):
        page = tmp_path / f"{select_by}.html"
        write_page(tree(load_records(runs, select_by=select_by)), page)
        browser.get(f"file://{page}")
        heads = [head.split()[0] + " %" for head in texts(browser, "#cells th") if "%" in head]
        assert heads == ["test %", *columns]
        assert ("so optimistic" in " ".join(texts(browser, "#peaks .how"))) == (select_by == "test")


def test_a_cross_fitted_peak_has_its_interval(show):
    browser = show(failed=False)
    script = "return [...document.querySelectorAll('#peaks tbody abbr')].map((one) => one.title)"
    titles = browser.execute_script(script)
    assert len(titles) == 2 and all(re.fullmatch(r"95 %: \[\d+\.\d\d, \d+\.\d\d\]", title) for title in titles)


def test_the_legend_switches_variants(show):
    browser = show()
    waits(browser, "document.querySelectorAll('.curve').length")
    click(browser, ".chip[data-variant=lora]")
    assert browser.execute_script("return [...document.querySelectorAll('.curve')].map((one) => one.dataset.variant)") == [
        "pissa"
    ]
    assert (
        browser.execute_script("return document.querySelector('.chip[data-variant=lora]').getAttribute('aria-pressed')")
        == "false"
    )
    click(browser, ".chip[data-variant=lora]", shiftKey=True)
    assert browser.execute_script("return [...document.querySelectorAll('.curve')].map((one) => one.dataset.variant)") == [
        "lora"
    ]
    click(browser, ".actions button")
    assert browser.execute_script("return document.querySelectorAll('.curve').length") == 2


def test_points_tell_their_seeds_by_keyboard_too(show):
    from selenium.webdriver.common.keys import Keys

    browser = show(failed=False)
    waits(browser, "document.querySelectorAll('.curve').length")
    browser.execute_script("document.querySelector('#curves svg.chart').focus()")
    press = browser.switch_to.active_element.send_keys
    press(Keys.ARROW_RIGHT)
    assert texts(browser, ".tip .head") == ["lora at 2e-4"] and texts(browser, ".tip li") == [
        "seed 0 10.00 %",
        "seed 1 10.00 %",
    ]
    press(Keys.ARROW_RIGHT)
    press(Keys.ARROW_DOWN)
    assert texts(browser, ".tip .head") == ["pissa at 2e-3"]
    press(Keys.ENTER)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    waits(browser, "location.hash.startsWith('#cell-')")
    assert waits(browser, "document.querySelector('#cell h1')?.textContent").strip() == "pissa at 2e-3, seed 0"


def test_a_cell_shows_hostile_completions_as_text(show):
    browser = show()
    click(browser, "#cells tbody td a")
    waits(browser, "!document.getElementById('cell').hidden")
    assert texts(browser, "#cell h1")[0].strip() == "pissa at 2e-3, seed 0"
    assert set(texts(browser, "#cell .completion")) == {HOSTILE}
    assert texts(browser, "#cell .grade") == ["✓ right"] * 3 + ["✗ wrong"]
    assert texts(browser, "#cell figcaption strong") == ["Training loss", "Sharpness along training"]
    assert "trainer.warmup_ratio" in texts(browser, "#cell .config th")
    facts = texts(browser, "#cell .facts dd")
    assert "arithmetic 95.00 of 200 problems, standard error 1.54" in facts and "2026-03-01 10:00:06 UTC" in facts
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.title.startswith("pissa at 2e-3")
    browser.back()
    waits(browser, "document.getElementById('cell').hidden && !document.getElementById('report').hidden")
    assert browser.title == "LoRA variants on tiny · arithmetic"


def test_a_cell_of_several_parameter_groups_shows_them(browser, runs, write, tmp_path):
    groups = [{"name": "lora_A", "lr": 2e-3, "parameters": 1000}, {"name": HOSTILE, "lr": 3.2e-2, "parameters": 2000}]
    write("loraplus", 2e-3, 0, 0.5, training={"steps": 2, "seconds": 4.2, "loss": [[1, 2.3]], "groups": groups})
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    browser.get("about:blank")
    browser.get(f"file://{tmp_path / 'report.html'}")
    click(browser, "#cells tbody td a")
    waits(browser, "!document.getElementById('cell').hidden")
    assert {"group lora_A", f"group {HOSTILE}"} <= set(texts(browser, "#cell .facts dt"))
    facts = texts(browser, "#cell .facts dd")
    assert {"peak learning rate 2e-3", "1,000 values", "peak learning rate 3.2e-2", "2,000 values"} <= set(facts)


def test_a_failed_cell_shows_its_error_as_text(show, runs):
    browser = show()
    [failed] = [row[0] for row in tree(load_records(runs))["cells"]["rows"] if row[7] == "failed"]
    browser.execute_script("location.hash = arguments[0]", f"#cell-{failed}")
    waits(browser, "!document.getElementById('cell').hidden")
    assert texts(browser, "#cell .gap.failed") == [f"Failed: {HOSTILE}"]


@pytest.mark.parametrize("fragment", ["#cell-none", "#cell-%", "#cell-<img src=x>"])
def test_a_cell_that_is_not_there_is_said(show, fragment):
    browser = show(fragment)
    assert waits(browser, "document.querySelector('#cell h1')?.textContent") == "No such cell"


def test_one_model_and_task_of_many_is_shown_at_first(show, write):
    for task in ("math", "code"):
        for rank in (8, 16, 32):
            write("lora", 2e-3, 0, 0.5, config={"task": {"name": task}, "rank": rank})
    browser = show()
    waits(browser, "document.querySelectorAll('#curves figure').length")
    chosen = texts(browser, "#curves figcaption strong")
    assert len(set(chosen)) == 1 and len(chosen) < 7
    browser.execute_script(
        "const one = document.getElementById('group'); one.value = ''; one.dispatchEvent(new Event('change'))"
    )
    assert len(texts(browser, "#curves figcaption strong")) == 7


def test_of_many_settings_those_with_most_cells_are_shown_at_first(show, write):
    for batch in range(1, 31):
        write("lora", 2e-3, 0, 0.5, config={"batch_size": 1000 + batch})
    browser = show()
    waits(browser, "document.querySelectorAll('#curves figure').length")
    assert len(texts(browser, "#curves figure")) == len(texts(browser, "#peaks details")) == 24
    assert any("batch size 16 " in caption for caption in texts(browser, "#curves figcaption"))  # the one of 12 cells
    assert texts(browser, "#few") == ["Below: the 24 of 31 settings with the most cells. Show all 31"]
    click(browser, "#few button")
    assert len(texts(browser, "#curves figure")) == 31
    assert browser.execute_script("return document.getElementById('few').hidden")


def test_the_rules_fit_on_a_wide_page(browser, runs, write, tmp_path):
    for rank in (4, 8, 16):
        for batch in (8, 32):
            for name in ("lora", "pissa"):
                for lr, score in ((2e-4, 0.5), (2e-3, 0.9), (2e-2, 0.4)):
                    write(name, lr * (8 / rank if name == "pissa" else 1), 0, score, config={"rank": rank, "batch_size": batch})
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get(f"file://{tmp_path / 'report.html'}")
        assert texts(browser, "#rules tbody tr")
        room = "document.querySelector('#rules .scroll')"
        assert browser.execute_script(f"return {room}.scrollWidth <= {room}.clientWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_prints(show):
    browser = show()
    assert len(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]) > 20_000


def measured(folder, **variants):
    """Two blocks of each variant, of λmax as given and one more."""
    for variant, value in variants.items():
        for layer in (0, 1):
            record = {
                "schema_version": 1, "kind": "hessian_block", "model": "tiny", "task": "arithmetic", "variant": variant,
                "matrix": "q_proj", "layer": layer, "layers": 2, "rank": 8, "seed": 0, "lambda_max": value + layer, "lambda_min": -1.0,
                "converged": True, "data": {"stderr": 0.1}, "growth": [], "weights": "pretrained", "sequences": 8,
                "identity": {"model": "sha256:" + "a" * 64, "samples": 8, "variant": {"name": variant}},
            }  # fmt: skip
            folder.mkdir(exist_ok=True)
            (folder / f"{variant}{layer}.json").write_text(json.dumps(record))


def test_curves_have_ticks_at_the_learning_rates_tried(show):
    browser = show(failed=False)
    assert [text for text in texts(browser, "figure svg.chart .tick") if "e" in text] == ["2e-4", "2e-3", "2e-2"]


def test_ticks_too_near_are_not_written(browser, runs, write, tmp_path):
    rates = [1e-3 * 1.05**i for i in range(40)]
    for lr in rates:
        write("lora", lr, 0, 0.5)
    write_page(tree(load_records(runs)), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    waits(browser, "document.querySelector('figure svg.chart')")
    script = """return [...document.querySelectorAll('figure svg.chart .tick')].filter((one) => one.textContent.includes('e'))
        .map((one) => one.getBoundingClientRect()).map((r) => [r.left, r.right])"""
    written = sorted(browser.execute_script(script))
    assert 5 < len(written) < 40
    assert all(left[1] < right[0] for left, right in itertools.pairwise(written))


def test_sharpness_and_searches_have_their_sections(show, tmp_path):
    measured(tmp_path / "hessian", lora=1.0, pissa=8.0)
    searches = [Search("tpe", s, "tiny · lr (3)", "k", 3, [math.nan, 0.5, 0.4 + s / 5], ["lr=2e-3"], {}) for s in (0, 1)]
    browser = show(blocks=load_blocks(tmp_path / "hessian"), searches=searches)
    waits(browser, "document.querySelector('#sharpness svg.chart')")
    assert texts(browser, "#sharpness .setting > .legend .variant") == ["lora", "pissa"]
    assert texts(browser, "#sharpness tbody td:nth-child(2)") == ["1.50", "8.50"]
    assert waits(browser, "document.querySelectorAll('#search svg.chart').length") == 1
    assert texts(browser, "#search tbody td:nth-child(5)") == ["50.00", "60.00"]


def test_sharpness_of_variants_alike_is_readable(browser, runs, write, tmp_path):
    """Three variants of one best learning rate that is no round number, two of them of one λmax."""
    for variant in ("lora", "rslora", "pissa"):
        for lr, score in ((3.557e-4, 0.5), (6.325e-4, 0.9), (1.125e-3, 0.4)):
            write(variant, lr, 0, score)
    measured(tmp_path / "hessian", lora=1.0, rslora=1.0, pissa=1.1)
    write_page(tree(load_records(runs), blocks=load_blocks(tmp_path / "hessian")), tmp_path / "report.html")
    browser.get(f"file://{tmp_path / 'report.html'}")
    waits(browser, "document.querySelector('#sharpness svg.chart')")
    assert "6.325e-4" in texts(browser, "#sharpness svg.chart .tick")
    rooms = """return ["path", "circle", "g.hollow", "g > .axis"].flatMap((one) => [...document.querySelectorAll(`#sharpness svg.chart > ${one}`)])
        .map((one) => one.getBoundingClientRect()).map((r) => [r.left, r.right - 2, r.top, r.bottom - 2])"""
    boxes = browser.execute_script(rooms)
    assert len(boxes) == 3 + 2  # markers, titles of the axes
    for a, b in itertools.combinations(boxes, 2):
        assert a[0] >= b[1] or b[0] >= a[1] or a[2] >= b[3] or b[2] >= a[3]
