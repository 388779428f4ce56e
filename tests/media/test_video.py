"""Bytes of a video in files and archives."""

import io
import zlib

import numpy as np
import pytest

from exprbench.media import MediaError, Piece, VideoSource
from exprbench.media.video import open_bytes

DATA = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()


@pytest.fixture
def pieces(tmp_path):
    """The data in three runs, each in the middle of a file of its own."""
    made = []
    for i, (first, last) in enumerate([(0, 1000), (1000, 1001), (1001, 5000)]):
        path = tmp_path / f"{i}.part"
        path.write_bytes(b"before" * i + DATA[first:last] + b"after" * 100)
        made.append(Piece(str(path), 6 * i, last - first))
    return tuple(made)


def test_pieces_are_read_as_one_file(pieces):
    with open_bytes(list(pieces), 0) as file:
        assert file.read() == DATA
        for at, count in ((0, 10), (990, 20), (999, 3), (1000, 1), (1001, 9), (4990, 100), (5000, 5), (9999, 5)):
            file.seek(at)
            assert file.read(count) == DATA[at : at + count]
        assert file.seek(-10, io.SEEK_END) == 4990
        assert file.read() == DATA[-10:]
        file.seek(100)
        assert file.seek(50, io.SEEK_CUR) == 150
        assert file.tell() == 150


def deflated(tmp_path, data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    (tmp_path / "packed").write_bytes(b"head" + packed + b"tail")
    return [Piece(str(tmp_path / "packed"), 4, len(packed))]


def test_a_deflated_member_is_inflated(tmp_path):
    with open_bytes(deflated(tmp_path, DATA), len(DATA)) as file:
        assert file.read() == DATA


def test_a_member_is_inflated_up_to_its_size_only(tmp_path):
    with open_bytes(deflated(tmp_path, bytes(50_000_000)), 1000) as file:
        assert file.read() == bytes(1000)


def test_a_member_that_gives_less_is_truncated(tmp_path):
    with pytest.raises(MediaError, match="truncated: its archive gives 5000 of 5001 bytes"):
        open_bytes(deflated(tmp_path, DATA), 5001)


def test_the_size_of_a_video_is_that_of_its_pieces(pieces, tmp_path):
    (tmp_path / "a.mp4").write_bytes(DATA)
    assert VideoSource(path=str(tmp_path / "a.mp4")).num_bytes == 5000
    assert VideoSource(pieces=pieces).num_bytes == 5000
    assert VideoSource(pieces=pieces, unpacked_bytes=9000).num_bytes == 9000
    for gone in (
        VideoSource(path=str(tmp_path / "gone")),
        VideoSource(pieces=(*pieces, Piece(str(tmp_path / "gone"), 0, 1))),
    ):
        with pytest.raises(MediaError, match=r"missing_file: there is no file .*gone"):
            _ = gone.num_bytes
