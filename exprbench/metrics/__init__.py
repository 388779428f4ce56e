"""Metrics: one module per metric, with pure functions on arrays, and the registry of columns.

Importing this package loads only the registry, without heavy libraries.
"""

from exprbench.metrics.metric import PROFILES, Metric
from exprbench.metrics.registry import COLUMNS, EXTRAS, METRICS, metric_ids, parent_metric

__all__ = ["COLUMNS", "EXTRAS", "METRICS", "PROFILES", "Metric", "metric_ids", "parent_metric"]
