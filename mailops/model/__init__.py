"""Values and states; no input, no output, no clock."""
