"""From records of finished cells to tables and figures.

The records on disk are the only interface to training: this package imports neither torch nor `lorabench`.

    record.py   one record.json → one row, checked
    load.py     a folder of records → one DataFrame, one row a cell
    options.py  keeps cells apart that differ in anything but the sweep's axes
    stats.py    seed means, peaks, best ranges: pure functions on that frame
    labels.py   how a learning rate, a score and a setting are written
    palette.py  the fixed order, colour, marker and line style of every variant
    tables.py   the peak table as text, Markdown or CSV
    plots.py    accuracy over learning rate

    blocks.py           a folder of Hessian records → one DataFrame, one row a block
    sharpness.py        best learning rate over λmax, with correlation.py and sharpness_plot.py
    drawing.py, rendering.py    what figures and tables of both kinds share

    report.py           a folder of records → one HTML page (html/), with intervals.py and journals.py
"""
