"""Writing the dataset."""

from multiexpr.export.dataset import export

__all__ = ["export"]
