"""Questions to the results, one a file: its numbers, and where a command prints them alone, their text."""
