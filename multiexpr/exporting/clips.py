"""One kept clip written: copied where it fits, re-encoded where not, with the tracks and masks of its faces."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.files import atomic_path, sha256_path
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import GIVEN_SUFFIX, collect, landmarker
from exprbench.media import MediaError, VideoSource, open_clip, open_frames, probe, write_video
from exprbench.media.sparse_decoder import Span
from exprbench.media.stream import StreamReader, open_container, video_stream
from multiexpr.exporting.masks import face_masks, save_masks
from multiexpr.recipe import Export, Recipe

MASKS_SUFFIX = ".masks.npz"
MIN_SEEN = 0.8  # of the frames in which somebody must be seen to be counted among the clip's people

Row = dict[str, Any]


def clip_path(folder: Path, clip_id: str) -> Path:
    """Where a clip lies in the dataset: two digits of its id are a folder, so that no folder grows too large."""
    return folder / "clips" / clip_id[:2] / f"{clip_id}.mp4"


def export_clip(clip: Row, video: VideoSource, into: Path, recipe: Recipe) -> Row:
    """Write a clip and what belongs to it; what was written.

    Raises:
        MediaError: the clip cannot be read.
    """
    path = clip_path(into, clip["clip_id"])
    facts = probe(video)
    copied = fits(facts, recipe.export) and copy_stream(video, path)
    fps = recipe.export.fps or facts.fps
    if not copied:
        times = [k / fps for k in range(max(1, round(facts.duration_s * fps)))]
        with open_frames(video, times) as frames:
            write_video(path, frames, fps=Fraction(fps).limit_denominator(1001), crf=recipe.export.crf)
    written = probe(path)
    row: Row = {
        "copied": copied,
        "sha256": sha256_path(path),
        "width": written.width,
        "height": written.height,
        "fps": round(written.fps, 3),
        "num_frames": written.num_frames,
        "duration_s": round(written.duration_s, 3),
        "num_people": -1,
    }
    if recipe.export.tracks or recipe.export.masks:
        row["num_people"] = _write_faces(path, written.fps, row["sha256"], recipe.export)
    return row


def fits(facts: Any, export: Export) -> bool:
    """Can the clip's packets be taken as they are: H.264 every player shows, upright, at the wanted constant rate?"""
    plain = facts.codec == "h264" and facts.pixel_format == "yuv420p"
    upright = not facts.rotation_deg and facts.square_pixels
    at_rate = not export.fps or abs(facts.fps - export.fps) < 1e-3
    return plain and upright and facts.constant_rate and at_rate


def copy_stream(video: VideoSource, path: Path) -> bool:
    """Write a clip's packets without decoding them; False where it does not begin with a key frame of its own.

    The same packets give the same bytes. Sound and other streams are left out.
    """
    import av

    pieces = [[p.path, p.offset, p.num_bytes] for p in video.pieces]
    with open_container(video.path, pieces, video.unpacked_bytes) as source:
        reader = StreamReader(source, video_stream(source))
        packets = _packets_of(reader, video)
        if not packets:
            return False
        with (
            atomic_path(path) as temporary,
            av.open(
                str(temporary), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}
            ) as out,
        ):
            stream = out.add_stream_from_template(reader.stream)
            first = min(packet.pts for packet in packets)
            for packet in packets:
                packet.pts -= first
                packet.dts = None if packet.dts is None else packet.dts - first
                packet.stream = stream
                out.mux(packet)
    return True


def _packets_of(reader: StreamReader, video: VideoSource) -> list[Any]:
    """The packets of a span that starts with a key frame; empty where that cannot be said."""
    from exprbench.media.sparse_decoder import packets_of

    end_s = None if video.duration_s is None else Fraction(video.start_s) + Fraction(video.duration_s)
    return packets_of(reader, Span(Fraction(video.start_s).limit_denominator(10**6), end_s))


def _write_faces(path: Path, fps: float, sha256: str, export: Export) -> int:
    """Write tracks and masks of the faces in a clip that was written; how many people it shows."""
    tracker = FaceTracker(landmarker(), fps=fps)
    with open_clip(path) as frames:
        for frame in frames:
            tracker.update(frame)
    tracks = collect(tracker, sha256)
    if export.tracks:
        save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), tracks)
    if export.masks:
        save_masks(path.with_name(path.stem + MASKS_SUFFIX), face_masks(tracks))
    return count_people(tracks)


def count_people(tracks: FaceTracks) -> int:
    """People seen in most of the frames."""
    return int(np.sum([track.seen_rate >= MIN_SEEN for track in tracks.tracks]))


__all__ = ["MASKS_SUFFIX", "MediaError", "clip_path", "export_clip"]
