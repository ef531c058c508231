"""Runs the steps: the training loop, its callbacks, checkpoints, history, metrics and progress."""
