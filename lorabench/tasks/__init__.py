"""Tasks: one file and one yaml each."""
