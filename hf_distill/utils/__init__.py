"""Files that are written atomically, and what must not leave this machine."""
