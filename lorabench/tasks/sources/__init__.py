"""Where the rows of a data set come from: one file a kind of place; ``node.py`` reads what a config says of it."""
