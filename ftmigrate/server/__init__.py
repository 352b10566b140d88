"""A language server: what the linter, the pinned schemas and the reader know, where the config is written.

`outline` finds out where a place in a half-typed text stands, `places` which keys and values may stand there, `hover`
and `completion` tell it, `positions` counts as the editor counts; `protocol` alone speaks the protocol (pygls).
"""
