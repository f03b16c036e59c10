"""The instruction prompt of the papers' runs, shared by the tasks that train on instructions."""

PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)


def instruction_prompt(instruction: str) -> str:
    """Alpaca's prompt without an input field, as in paper 1's training code (arXiv 2602.04998)."""
    return PROMPT.format(instruction=instruction)
