"""Why a metric has no number."""

from exprbench.core.errors import ItemError


class MetricError(ItemError):
    """No number can be given: `too_few_samples`, `features_not_finite` or `frame_too_small`; the detail says more."""
