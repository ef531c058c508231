"""Watching a run: figures of every layer, made by the step itself, and what becomes of them."""
