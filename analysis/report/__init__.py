"""What leaves the package as a whole: the report, one HTML file that opens from disk and needs no network, and other forms.

Python computes every number and writes it as JSON into the page; the scripts only draw, sort and filter it.

    html.py       a folder of records → the page, with what lies beside them
    data.py       everything the page shows, as one tree
    panels.py     a setting's learning-rate curves, peaks, differences and costs
    cells.py      the table of cells, and what a cell's own view shows
    samples.py    completions, within a budget of bytes
    further.py    sharpness, searches, rules of practice, one problem's answers
    summary.py    the sentences at the top, and what the records cannot tell
    page.py       template, styles, scripts and data → one file
    assets/       page.html, page.css and the scripts, one idea each
    export.py     cells as CSV or Parquet
    wandb.py      the report for Weights & Biases
"""
