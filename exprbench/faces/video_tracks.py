"""From a video file to its faces, kept by content."""

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exprbench import weights
from exprbench.core.cache import cached
from exprbench.core.files import sha256_path
from exprbench.faces.landmarker import Landmarker
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.tracks import FaceTrack, FaceTracks, TracksError, load_tracks, pack_tracks, unpack_tracks
from exprbench.media import open_clip, read_image

TRACKER = "follow-1"  # raise it when a change to search, follow or linking changes what comes out
GIVEN_SUFFIX = ".tracks.npz"
MAIN_SEEN_RATE = 0.5


@lru_cache(maxsize=1)
def landmarker() -> Landmarker:
    """This process's one landmarker; `WeightsError` where its model file is missing."""
    return Landmarker(weights.require("face_landmarker"))


def tracks_made_by() -> str:
    """What makes tracks here, in words: part of every result they lead to."""
    return f"mediapipe {version('mediapipe')}, face_landmarker {weights.get('face_landmarker').sha256[:8]}, {TRACKER}"


def tracks_key(video_sha256: str, fps: float, max_frames: int | None) -> dict[str, Any]:
    """Under which tracks are kept: everything they depend on."""
    return {"video": video_sha256, "fps": fps, "max_frames": max_frames, "made_by": tracks_made_by()}


def collect(tracker: FaceTracker, video_sha256: str) -> FaceTracks:
    """The tracks of a video whose frames a tracker was fed."""
    return FaceTracks(
        num_frames=tracker.num_frames,
        width=tracker.size[0],
        height=tracker.size[1],
        fps=tracker.fps,
        tracks=tracker.compute(),
        made_by=tracks_made_by(),
        video_sha256=video_sha256,
    )


def track_faces(path: Path | str, *, fps: float = 25, max_frames: int | None = None) -> FaceTracks:
    """Everybody's face in a video (or a folder of frames, or an image's one frame) at `fps`, cached by content.

    Tracks given beside the video (`clip.tracks.npz` for `clip.mp4`) are used instead of looking.

    Raises:
        MediaError: the video cannot be read.
        WeightsError: the landmarker's model is missing.
        TracksError: tracks are given and do not fit.
    """
    path = Path(path)
    given = given_tracks(path)
    if given:
        return given
    sha256 = sha256_path(path) if path.exists() else ""

    def look() -> FaceTracks:
        with open_clip(path, fps=fps, max_frames=max_frames) as clip:
            tracker = FaceTracker(landmarker(), fps=fps)
            for frame in clip:
                tracker.update(frame)
            return collect(tracker, sha256)

    return cached("tracks", tracks_key(sha256, fps, max_frames), look, pack_tracks, unpack_tracks)


def track_image(path: Path) -> FaceTracks:
    """Everybody's face in a still image, as tracks of one frame; given, cached and failing as in `track_faces`."""
    given = given_tracks(path)
    if given:
        return given
    image, sha256 = read_image(path), sha256_path(path)

    def look() -> FaceTracks:
        tracker = FaceTracker(landmarker(), fps=1)
        tracker.update(image)
        return collect(tracker, sha256)

    return cached("tracks", tracks_key(sha256, 1, 1), look, pack_tracks, unpack_tracks)


def main_faces(tracks: FaceTracks) -> list[FaceTrack]:
    """The people a video is about, left to right: those seen in at least half of its frames."""
    return [track for track in tracks.tracks if track.seen_rate >= MAIN_SEEN_RATE]


def given_path(path: Path) -> Path:
    """Where tracks that go with a video, a frame folder or an image would lie."""
    return path.with_name((path.name if path.is_dir() else path.stem) + GIVEN_SUFFIX)


def given_tracks(path: Path) -> FaceTracks | None:
    """Tracks that lie beside a video, a frame folder or an image; refused when they are of another one."""
    beside = given_path(path)
    if not beside.is_file():
        return None
    tracks = load_tracks(beside)
    if tracks.video_sha256 and tracks.video_sha256 != sha256_path(path):
        raise TracksError("tracks_mismatch", f"{beside.name} was made for another version of {path.name}")
    return tracks
