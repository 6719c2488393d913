"""Pure rules: no input or output, no clock, no chance, no logging. Time and randomness are arguments."""
