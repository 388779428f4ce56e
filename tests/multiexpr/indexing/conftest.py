"""Collections for tests of listing."""

import pytest


@pytest.fixture
def many(tmp_path):
    """Folder with thirty files that have names of videos: listing does not open them."""
    root = tmp_path / "many"
    (root / "x").mkdir(parents=True)
    for i in range(30):
        (root / f"{'x/' if i % 2 else ''}{i:02d}.mp4").write_bytes(b"video %d" % i * (i + 1))
    return root
