"""Write the kept clips as a dataset."""

from multiexpr.exporting.dataset import export

__all__ = ["export"]
