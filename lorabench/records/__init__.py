"""What names a cell and keeps its result: the identity, collected from the parts themselves, and the form of a record."""

SCHEMA_VERSION = 2
"""Of the records that are written now; ``legacy`` knows those of version 1."""
