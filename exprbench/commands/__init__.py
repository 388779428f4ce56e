"""Verbs of the command `exprbench`, one module for each group: `add` adds them to the parser."""
