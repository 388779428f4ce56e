"""Writing the dataset."""

from multiexpr.exporting.dataset import export

__all__ = ["export"]
