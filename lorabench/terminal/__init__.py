"""What a process tells its user, all of it on standard error: lines, bars, and mistakes in one line each."""
