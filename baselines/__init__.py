"""Adapters that run the baseline methods; no adapter exists yet."""
