"""Face tracks of a video file, cached by the file's content."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from exprbench import weights
from exprbench.core.cache import cached
from exprbench.core.files import sha256_path
from exprbench.face_engine import choose_engine, engine_version
from exprbench.faces.face_networks import Run
from exprbench.faces.landmarker import Landmarker
from exprbench.faces.region_landmarker import RegionLandmarker
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.tracks import FaceTrack, FaceTracks, TracksError, load_tracks, pack_tracks, unpack_tracks
from exprbench.media import DECODER, open_clip, read_image

TRACKER = "follow-3"  # increase it when a change of the tracker changes its results
FOLLOWER = "regions-2"  # added if the tracker follows regions
GIVEN_SUFFIX = ".tracks.npz"
MAIN_SEEN_RATE = 0.5


def landmarker(engine: str = "") -> Landmarker:
    """Return the landmarker of an engine, loaded once per process; see `choose_engine` for its name.

    Raises:
        WeightsError: its model file is missing.
        UserError: unknown engine, or it is not installed.
    """
    return _load(choose_engine(engine))


@lru_cache(maxsize=3)
def _load(engine: str) -> Landmarker:
    model = weights.require("face_landmarker")
    return Landmarker(model) if engine == "mediapipe" else RegionLandmarker(model, _load_networks(engine, model))


def _load_networks(engine: str, model: Path) -> Run:
    if engine == "torch":
        from exprbench.faces.torch_networks import TorchNetworks

        return TorchNetworks(model)
    from exprbench.faces.openvino_networks import OpenVinoNetworks

    return OpenVinoNetworks(model)


def tracks_made_by(engine: str = "") -> str:
    """Return a description of the tracker, its model and engine; it is stored in every result that depends on them."""
    model = weights.get("face_landmarker").sha256[:8]
    return f"{engine_version(choose_engine(engine))}, face_landmarker {model}, {TRACKER}"


def tracks_key(video_sha256: str, fps: float | str, max_frames: int | None) -> dict[str, Any]:
    """Return the cache key of a video's tracks: everything they depend on."""
    return {
        "video": video_sha256,
        "decoder": DECODER,
        "fps": fps,
        "max_frames": max_frames,
        "made_by": tracks_made_by(),
    }


def collect(tracker: FaceTracker, video_sha256: str, engine: str = "") -> FaceTracks:
    """Return the tracks of a video after a tracker has taken its frames; `engine` is that of its landmarker."""
    tracks = tracker.compute()
    return FaceTracks(
        num_frames=tracker.num_frames,
        width=tracker.size[0],
        height=tracker.size[1],
        fps=tracker.fps,
        tracks=tracks,
        made_by=tracks_made_by(engine) + (f", {FOLLOWER}" if tracker.follow_regions else ""),
        video_sha256=video_sha256,
    )


def track_faces(path: Path | str, *, fps: float = 25, max_frames: int | None = None) -> FaceTracks:
    """Return the tracks of all faces in a video, a folder of frames or an image, at `fps`, cached by content.

    A track file next to the video (`clip.tracks.npz` for `clip.mp4`) is used instead of the tracker.

    Args:
        fps: frames per second.
        max_frames: number of frames after which to stop.

    Raises:
        MediaError: the video cannot be read.
        WeightsError: the landmarker's model file is missing.
        TracksError: the track file is invalid or belongs to another video.
    """
    path = Path(path)
    given = given_tracks(path)
    if given:
        return given
    sha256 = sha256_path(path) if path.exists() else ""

    def compute() -> FaceTracks:
        with open_clip(path, fps=fps, max_frames=max_frames) as clip:
            tracker = FaceTracker(landmarker(), fps=fps)
            for frame in clip:
                tracker.update(frame)
            return collect(tracker, sha256)

    return cached("tracks", tracks_key(sha256, fps, max_frames), compute, pack_tracks, unpack_tracks)


def track_image(path: Path) -> FaceTracks:
    """Return the tracks of all faces in a still image, one frame long; see `track_faces`."""
    given = given_tracks(path)
    if given:
        return given
    image, sha256 = read_image(path), sha256_path(path)

    def compute() -> FaceTracks:
        tracker = FaceTracker(landmarker(), fps=1)
        tracker.update(image)
        return collect(tracker, sha256)

    return cached("tracks", tracks_key(sha256, 1, 1), compute, pack_tracks, unpack_tracks)


def main_faces(tracks: FaceTracks) -> list[FaceTrack]:
    """Return the tracks of the main people of a video, left to right: those seen in at least half of its frames."""
    return [track for track in tracks.tracks if track.seen_rate >= MAIN_SEEN_RATE]


def given_path(path: Path) -> Path:
    """Return the path of the track file of a video, a frame folder or an image, whether it exists or not."""
    return path.with_name((path.name if path.is_dir() else path.stem) + GIVEN_SUFFIX)


def given_tracks(path: Path) -> FaceTracks | None:
    """Return the tracks in the track file of a video, a frame folder or an image, None if it has none.

    Raises:
        TracksError: the file is invalid or belongs to another video.
    """
    track_file = given_path(path)
    if not track_file.is_file():
        return None
    tracks = load_tracks(track_file)
    if tracks.video_sha256 and tracks.video_sha256 != sha256_path(path):
        raise TracksError("tracks_mismatch", f"{track_file.name} was made for another version of {path.name}")
    return tracks
