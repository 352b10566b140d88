"""The audit of a directory: what of it converts, what blocks, and what solving each blocker would free."""
