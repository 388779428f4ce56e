"""Workspaces with kept clips."""

import pytest

from multiexpr import select
from tests.multiexpr.made import fill_collection


@pytest.fixture
def kept(workspace, drawn):
    """Workspace with four kept clips of drawn videos, in one shard."""
    fill_collection(workspace, drawn)
    select(workspace.root)
    return workspace
