"""Verbs of the command `multiexpr`, a module for each group."""
