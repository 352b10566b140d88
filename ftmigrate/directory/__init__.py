"""Whole directories: finding the configs in them, working on them in parallel, writing what comes of it."""
