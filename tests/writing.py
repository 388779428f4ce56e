"""Whether a file is written whole or not at all."""

import os
from pathlib import Path

import pytest


class Interrupted(Exception):
    """The process ends at this point."""


def assert_atomic(write, path, monkeypatch):
    """Call `write` and interrupt it before the new file takes the place of `path`: the old file must still be there,
    and no temporary file next to it.
    """

    def interrupt(source, target, **options):
        if Path(target) == path:
            raise Interrupted
        return replace(source, target, **options)

    replace = os.replace
    before, listed = path.read_bytes(), sorted(path.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(Interrupted):
            write()
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == listed
