"""The report of each variant's peak for W&B: saved there, or written as its specification."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.stats.curves import peaks, settings
from analysis.style.notes import notes
from analysis.style.numbers import format_lr
from analysis.style.palette import in_order, styles
from analysis.style.rendering import render
from analysis.style.settings import hyperparameters, model_and_task
from analysis.tables.peaks import blocks

# Names in the runs of `tracker=wandb`.
LR, VARIANT = "lr", "variant.name"
TEST, VALIDATION, LOSS = "test", "validation", "train/loss"
MISSING = "needs wandb and wandb-workspaces: pip install 'lorabench[wandb]'"


def summary(setting: dict[str, Any], cells: pd.DataFrame) -> str:
    """What the records say of a setting, in two sentences with numbers; scores in percent."""
    best = peaks(cells).set_index("variant")
    kind = "peak" if best["selected_mean"].isna().any() else "selected"
    ranked = best.sort_values(f"{kind}_mean", ascending=False, kind="stable")
    how = "learning rate chosen on validation" if kind == "selected" else "learning rate chosen on test, so optimistic"
    named = ", ".join(
        f"{name} {100 * row[f'{kind}_mean']:.2f} % at lr {format_lr(row[f'{kind}_lr'])}" for name, row in ranked.iterrows()
    )
    count = int(best["cells"].sum())
    words = f"{model_and_task(setting)}, {hyperparameters(setting)}: {count} cell{'' if count == 1 else 's'}. "
    words += f"Test score, {how}: {named}."
    if len(best) > 1:
        tuned = 100 * (ranked[f"{kind}_mean"].max() - ranked[f"{kind}_mean"].min())
        worst = _spread_at_one_lr(cells)
        words += f" Tuned, the {len(best)} variants lie within {tuned:.2f} points"
        words += "." if math.isnan(worst) else f"; at one learning rate for all, they lie up to {100 * worst:.2f} apart."
    edges = [name for name in in_order(best.index) if best.loc[name, "edge"]]
    return words + (f" At the edge of the learning rates tried, so maybe not at its peak: {', '.join(edges)}." if edges else "")


def _spread_at_one_lr(cells: pd.DataFrame) -> float:
    """The largest spread of all variants at a learning rate that all of them have; NaN without one."""
    table = cells.pivot_table("test", "lr", "variant", "mean").dropna()
    return float((table.max(axis=1) - table.min(axis=1)).max()) if len(table) else math.nan


def report(frame: pd.DataFrame, project: str, entity: str = "", online: bool = False) -> Any:
    """The report as an object of wandb-workspaces, nothing saved.

    For each setting: its summary, the peak table, and panels of the runs that the table was made from, a run set for each
    variant in its colour: test and validation score over the learning rate, the training loss over steps.

    Args:
        frame: of `read.load.load_records`.
        project: that the cells were logged to.
        entity: its owner.
        online: let the run sets name their project, which wandb-workspaces looks up on the server.

    Raises:
        AnalysisError: the packages are not installed.
    """
    wr = _reports()
    parts: list[Any] = []
    remarks: list[str] = []
    for setting, cells in settings(frame):
        table, remarks = blocks(cells)
        parts += [wr.H2(model_and_task(setting)), wr.P(summary(setting, cells))]
        parts.append(wr.MarkdownBlock(render(table, [], "markdown").rstrip()))
        if not setting["source"]:  # published cells are no runs
            parts.append(_panels(wr, cells, {"project": project, "entity": entity} if online else {}))
    lines = "".join(f"- {note}\n" for note in [*remarks, *notes(frame)])
    parts += [wr.H2("How to read the tables"), wr.MarkdownBlock(lines)]
    tasks = ", ".join(dict.fromkeys(model_and_task(setting) for setting, _ in settings(frame)))
    title = f"Peak performance per variant: {tasks}"
    about = f"{len(frame)} cells; numbers from their records, by `python -m analysis wandb`."
    return wr.Report(project=project, entity=entity, title=title[:128], description=about, blocks=parts, width="fluid")


def _panels(wr: Any, cells: pd.DataFrame, where: dict[str, str]) -> Any:
    from wandb_workspaces import expr

    runsets = []
    for variant, style in styles(cells["variant"]).items():
        ids = cells.loc[cells["variant"] == variant, "id"].tolist()  # a run's id is its cell's
        colors = {id: wr.RunSettings(color=style.color) for id in ids}
        runsets.append(wr.Runset(name=variant, filters=expr.And(expr.Metric("ID").isin(ids)), run_settings=colors, **where))
    over_lr = [
        wr.ScatterPlot(title=f"{name} score over the learning rate", x=wr.Config(LR), y=wr.SummaryMetric(name), log_x=True)
        for name in (TEST, VALIDATION)
    ]
    loss = wr.LinePlot(title="training loss", x="Step", y=[LOSS], groupby=wr.Config(VARIANT), groupby_aggfunc="mean")
    return wr.PanelGrid(runsets=runsets, panels=[*over_lr, loss])


def specification(report: Any) -> dict[str, Any]:
    """A report as W&B stores it, without asking a server, so that its run sets lack the server's number of their project."""
    model = report._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    for block in model["spec"]["blocks"]:
        for runset in block.get("metadata", {}).get("runSets", []):
            runset["project"] = model["project"]
    return model


def write(frame: pd.DataFrame, project: str, entity: str, path: Path) -> None:
    """Write the report's specification as JSON.

    Raises:
        AnalysisError: the packages are not installed, or the file cannot be written.
    """
    text = json.dumps(specification(report(frame, project, entity)), indent=1, ensure_ascii=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise AnalysisError(f"cannot write {path} ({error.strerror}): choose another place with --out") from None


def save(frame: pd.DataFrame, project: str, entity: str | None) -> str:
    """Save the report to W&B and return its address.

    Raises:
        AnalysisError: the packages are not installed, nobody is logged in, or the server does not take it.
    """
    _reports()
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))
    try:
        if not wandb.login(prompt=False, verify=False):
            raise AnalysisError("not logged in to W&B: run `wandb login`, or write the report to a file with --out FILE")
        owner = entity or wandb.Api().default_entity or ""
        return str(report(frame, project, owner, online=True).save().url)
    except AnalysisError:
        raise
    except Exception as error:  # of many kinds: network, permissions, what wandb-workspaces raises as it is
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise AnalysisError(f"W&B did not take the report ({line}): mend that, or write it to a file with --out FILE") from None


def _reports() -> Any:
    try:
        import wandb_workspaces.reports.v2 as reports
    except ImportError as error:
        raise AnalysisError(f"`python -m analysis wandb` {MISSING} ({error})") from None
    return reports
