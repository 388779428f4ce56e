"""Metrics: one module per metric, pure functions on arrays, and the registry that says what each column is.

Importing this package loads only the registry, which imports nothing heavy.
"""

from exprbench.metrics.registry import COLUMNS, EXTRAS, METRICS, PROFILES, Metric, metric_ids, parent_of

__all__ = ["COLUMNS", "EXTRAS", "METRICS", "PROFILES", "Metric", "metric_ids", "parent_of"]
