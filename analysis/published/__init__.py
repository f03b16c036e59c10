"""The papers' numbers as CSV files, which come with the package; README.md says where each is from."""

from pathlib import Path

FOLDER = Path(__file__).parent
