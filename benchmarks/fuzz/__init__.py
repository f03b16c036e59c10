"""Command lines and files that nobody would write, and what the commands answer to them."""
