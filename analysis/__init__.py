"""From records of finished cells to tables, figures and reports.

The records on disk are the only interface to training: this package imports neither torch nor `lorabench`. A module imports
only what stands before it in this list.

Ground
    errors, checked     the one error a user sees; a value of a JSON object, or why it is none
    options             keeps cells apart that differ in anything but the sweep's axes
    labels, rendering   how numbers and settings are written; tables as text, Markdown or LaTeX
    palette             the order, colour, marker and line of every variant

Reading
    published           the papers' cells as the same frame (`published/*.csv`)
    record, load        one record.json → one row, checked; a folder of them → one DataFrame, one row a cell
    examples            scores of single problems, from the completions beside a record
    blocks, journals    Hessian records; journals of searches
    overrides           what a record was configured with, as words of a command

Statistics
    stats, bests        seed means, peaks, best ranges; a curve's best learning rates
    equivalence         tests of a difference too small to matter
    paired, intervals   a difference of two models, the score of one, with their intervals
    power               seeds and problems that a study needs
    welch, selection    a difference of two means from their deviations; what choosing the best of many cells is worth
    differences         each variant against LoRA, by all of the above
    correlation, clusters     Spearman's, slopes; means of values that share data
    sharpness, proxies, heuristics, suggestions     the questions of the commands of those names; the next sweep
    two_cells, compare  two sets of results, cell by cell

Showing
    *_table, tables     kinds of tables, one a file, and their choice
    drawing, plots      what figures share; curves over the learning rate
    *_plot, figures     other kinds of figures, one a file, and their choice
    responses, export, wandb_report     answers side by side; CSV and Parquet; the report for Weights & Biases
    html, report        the parts of a page; a folder of records → one HTML page
"""
