"""From records of finished cells to tables, figures and reports.

The records on disk are the only interface to training: this package imports neither torch nor `lorabench`. Imports point from
the end of this list to its start.

Reading
    record, load        one record.json → one row, checked; a folder of them → one DataFrame, one row a cell
    options             keeps cells apart that differ in anything but the sweep's axes
    published           the papers' cells as the same frame (`published/*.csv`)
    examples            scores of single problems, from the completions beside a record
    blocks, journals    Hessian records; journals of searches

Statistics
    stats, bests        seed means, peaks, best ranges; a curve's best learning rates
    equivalence, power  tests of a difference too small to matter; seeds and problems that a study needs
    paired, intervals   a difference of two models, the score of one, with their intervals
    welch               a difference of two means from their deviations
    selection           what choosing the best of many cells is worth
    differences         each variant against LoRA, by all of the above
    correlation, clusters, sharpness, proxies, heuristics      the questions of the commands of those names
    compare, two_cells  two sets of results, cell by cell

Showing
    labels, rendering   how numbers and settings are written; tables as text, Markdown or LaTeX
    tables, *_table     kinds of tables, one a file
    palette, drawing    the order, colour, marker and line of every variant; what figures share
    figures, *_plot     kinds of figures, one a file
    responses, export, wandb_report     answers side by side; CSV and Parquet; the report for Weights & Biases
    report, html        a folder of records → one HTML page
"""
