"""Places that follow cells while they train."""
