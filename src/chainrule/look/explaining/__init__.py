"""One training step, taken apart: record it, cut it into parts, follow the error back, and show what was found.

In the order of the data: recording, parts, flow, then path, examples, update, numeric, sensitivity, and the views.
"""
