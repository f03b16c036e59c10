"""The instruction prompt of the papers' runs, shared by the tasks that train on instructions."""

PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)


def with_input(row: dict[str, str]) -> str:
    """A row's instruction, and after a blank line its input where it has one; paper 1's code reads the instruction alone."""
    return "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)


def instruction_prompt(instruction: str) -> str:
    """Alpaca's prompt without an input field, as in paper 1's training code (arXiv 2602.04998)."""
    return PROMPT.format(instruction=instruction)
