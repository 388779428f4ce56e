"""Adapters that run the baseline methods: none is written yet, and the command says so."""
