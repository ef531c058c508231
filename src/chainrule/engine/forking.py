"""A lock that whoever forks waits for: a child finds nothing half made.

Only the thread that forks lives on in the child. What another one was about to make, such as a module that is being
imported, would stay half made there, and its locks closed for ever.
"""

import os
import threading

building = threading.RLock()  # also: LLVM's global state is not made for two builders at a time

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=building.acquire, after_in_parent=building.release, after_in_child=building.release)
