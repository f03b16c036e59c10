"""Figures, one kind a file: `python -m analysis plot RUNS --kind NAME` finds `NAME.py` in this folder, and `--help` lists it.

A kind defines, with names that say what its data are,

    draw(data, **options)       the figure (`matplotlib.figure.Figure`, without pyplot)

and, where it needs them,

    read(runs, published)       its data; without it they are the cells of `read.load.load_beside`
    add_arguments(parser)       options of its own, which reach `draw` by their names

What several kinds share is in files whose names start with an underscore; markers, axes and captions are `style.drawing`'s.
"""
