"""The linter: rules over a document, its schema at the pinned version, and the run that it describes."""
