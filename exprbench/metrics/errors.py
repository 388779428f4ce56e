"""Errors of metrics."""

from exprbench.core.errors import ItemError


class MetricError(ItemError):
    """A metric has no value: `too_few_samples`, `features_not_finite` or `frame_too_small`."""
