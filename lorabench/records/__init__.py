"""What names a cell and keeps its result: the identity, collected from the parts themselves, and the form of a record."""
