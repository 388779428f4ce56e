"""The eight metrics of ExprBench: one module a metric, pure functions on arrays, networks behind small extractors.

Only the registry is loaded here; it imports nothing heavy.
"""

from exprbench.metrics.registry import EXTRAS, METRICS, PROFILES, Extra, Metric, metric_ids, parent_of

__all__ = ["EXTRAS", "METRICS", "PROFILES", "Extra", "Metric", "metric_ids", "parent_of"]
