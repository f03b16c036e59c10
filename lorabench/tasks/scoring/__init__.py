"""How answers are judged: numbers, LaTeX, a second opinion on mathematics, a language model as judge."""
