"""The control directory and the masters in it."""
