"""Each module speaks to one thing outside; none imports another."""
