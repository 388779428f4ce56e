"""Measure clips with the scorers, cheapest first, and only those that the rules so far keep."""
