"""Second detections of the faces of a video in jittered crops, as computations; averages of several of them."""

from collections.abc import Sequence
from functools import partial

from exprbench.core.files import sha256_bytes
from exprbench.faces import FaceTracks
from exprbench.faces.jitter import VERSION, JitteredDetection, average
from exprbench.faces.tracks import pack_tracks, unpack_tracks
from exprbench.faces.video_tracks import landmarker, tracks_key
from exprbench.scoring.single_pass import Computation, VideoInput, single_pass


def jittered_tracks(video: VideoInput, tracks: FaceTracks, jitters: Sequence[int]) -> FaceTracks:
    """Return the mean of the detections of a video's tracked faces in the crops of some jitters."""
    results = single_pass([_computation(video, tracks, k) for k in jitters])
    return average([results[str(k)] for k in jitters])


def _computation(video: VideoInput, tracks: FaceTracks, k: int) -> Computation:
    """Return the computation of the detections in the crops of jitter k."""
    key = {
        **tracks_key(video.sha256, video.rate, video.max_frames),
        "tracks": sha256_bytes(pack_tracks(tracks)),
        "jitter": [VERSION, k],
    }
    return Computation(
        name=str(k),
        videos=(video,),
        kind="jittered",
        key=key,
        start=partial(_start, tracks, k),
        pack=pack_tracks,
        unpack=unpack_tracks,
    )


def _start(tracks: FaceTracks, k: int) -> JitteredDetection:
    return JitteredDetection(landmarker(), tracks, k)
