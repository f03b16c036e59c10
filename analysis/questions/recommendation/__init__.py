"""Which method, learning rate and rank to use: one answer for each model and task of a folder, in numbers and in words."""
