"""The tiled video: every tile shows its own video's frame of the same number, and is encoded once."""

import av
import numpy as np
import pytest

from exprbench.core.files import sha256_path
from exprbench.media import read_clip, write_video
from exprbench.report import tiling
from exprbench.report.tiling import KEYFRAME_EVERY, MAX_SIDE, Tile, TiledSettings, lay_out, write_tiled
from exprbench.scoring.single_pass import VideoInput
from tests.videos import number_of, numbered

SETTINGS = TiledSettings(fps=25, num_frames=30, side=160, crf=18)


@pytest.fixture
def videos(tmp_path, own_cache):
    """Frames 0 ..., 200 ... at twice the size, and 400 ... for only 20 frames."""
    made = []
    for start, num_frames, scale in ((0, 30, 1), (200, 30, 2), (400, 20, 1)):
        path = tmp_path / f"{start}.mp4"
        frames = (numbered(start + i).repeat(scale, 0).repeat(scale, 1) for i in range(num_frames))
        write_video(path, frames, fps=25)
        made.append(VideoInput(path=path, sha256=sha256_path(path), fps=25, max_frames=30))
    return made


def cut(frame, tile):
    return frame[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]


def test_tiles_show_the_frames_of_their_videos_in_step(videos, tmp_path):
    tiles = write_tiled(tmp_path / "t.mp4", videos, SETTINGS)
    frames, info = read_clip(tmp_path / "t.mp4")
    assert (info.width, info.height, info.fps) == (320, 192, 25)
    assert [(tile.width, tile.height) for tile in tiles] == [(160, 96)] * 3
    assert [tile.num_frames for tile in tiles] == [30, 30, 20]
    shown = [[number_of(cut(frame, tile)) for tile in tiles] for frame in frames]
    assert [numbers[:2] for numbers in shown] == [[i, 200 + i] for i in range(30)]
    assert [numbers[2] for numbers in shown[:20]] == [400 + i for i in range(20)]
    assert np.ptp(cut(frames[25], tiles[2])) < 30  # grey
    assert [tile.error for tile in tiles] == [""] * 3


def test_a_keyframe_comes_every_twelve_frames(videos, tmp_path):
    write_tiled(tmp_path / "t.mp4", videos, SETTINGS)
    with av.open(str(tmp_path / "t.mp4")) as file:
        keys = [i for i, frame in enumerate(file.decode(video=0)) if frame.key_frame]
    assert KEYFRAME_EVERY == 12
    assert keys == [0, 12, 24]


def test_the_second_time_it_comes_from_the_cache(videos, tmp_path, monkeypatch):
    first = write_tiled(tmp_path / "a.mp4", videos, SETTINGS)
    monkeypatch.setattr(tiling, "encode_tiled", None)
    assert write_tiled(tmp_path / "b.mp4", videos, SETTINGS) == first
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_other_videos_or_settings_are_encoded_again(videos, tmp_path):
    names = {"order": (videos[::-1], SETTINGS), "one": (videos[:1], SETTINGS)}
    names["quality"] = (videos, TiledSettings(fps=25, num_frames=30, side=160, crf=40))
    write_tiled(tmp_path / "first.mp4", videos, SETTINGS)
    for name, (chosen, settings) in names.items():
        write_tiled(tmp_path / f"{name}.mp4", chosen, settings)
    contents = {path.read_bytes() for path in tmp_path.glob("*.mp4") if not path.stem.isdigit()}
    assert len(contents) == 4


def test_a_damaged_video_costs_its_own_tile(videos, tmp_path):
    path = videos[1].path
    path.write_bytes(b"not a video")
    broken = VideoInput(path=path, sha256=sha256_path(path), fps=25, max_frames=30)
    tiles = write_tiled(tmp_path / "t.mp4", [videos[0], broken], SETTINGS)
    assert tiles[1].num_frames == 0
    assert "open_failed" in tiles[1].error
    assert [number_of(cut(frame, tiles[0])) for frame in read_clip(tmp_path / "t.mp4")[0]] == list(range(30))


def test_tiles_keep_their_shape_and_do_not_overlap():
    tiles, size = lay_out([(640, 360), (256, 256), (1000, 2000)], 256)
    assert tiles == [
        Tile(x=0, y=0, width=256, height=144),
        Tile(x=256, y=0, width=256, height=256),
        Tile(x=0, y=256, width=128, height=256),
    ]
    assert size == (512, 512)


def test_many_large_videos_stay_within_the_limits_of_decoders():
    tiles, (width, height) = lay_out([(2000, 2000)] * 30, 1024)
    assert max(width, height) <= MAX_SIDE
    assert len({(tile.x, tile.y) for tile in tiles}) == 30
