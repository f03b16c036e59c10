"""What is measured along training, beside the cell and without a word in its result; one file and one yaml each."""
