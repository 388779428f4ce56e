"""Export one clip: copy its packets if they fit the export settings, else re-encode; write face tracks and masks."""

from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from exprbench.core.files import atomic_path, sha256_path
from exprbench.faces import FaceTracks, save_tracks
from exprbench.faces.tracker import FaceTracker
from exprbench.faces.video_tracks import GIVEN_SUFFIX, collect
from exprbench.media import MediaError, VideoSource, open_clip, open_frames, probe, write_video
from exprbench.media.containers import open_container, video_stream
from exprbench.media.sparse_decoder import Span
from exprbench.media.stream import StreamReader
from multiexpr.exporting.counted import CountedPeople, select_tracks
from multiexpr.exporting.masks import face_masks, save_masks
from multiexpr.models.detector import Models
from multiexpr.recipe import Export, Recipe, ScoreMotion
from multiexpr.scorers.base import Frames, decoded_short_side
from multiexpr.scorers.people import is_damaged, smoothed

MASKS_SUFFIX = ".masks.npz"
MIN_SEEN = 0.8  # share of frames that show a face, if people were not judged before

Row = dict[str, Any]


def clip_path(folder: Path, clip_id: str) -> Path:
    """Return the path of a clip in a dataset; its folder is named after the first two digits of its id."""
    return folder / "clips" / clip_id[:2] / f"{clip_id}.mp4"


def export_clip(
    clip: Row,
    video: VideoSource,
    into: Path,
    recipe: Recipe,
    people: CountedPeople | None = None,
    models: Models | None = None,
) -> Row:
    """Write a clip, its face tracks and its masks, and return its columns of the export table.

    Args:
        clip: row of the index.
        video: the clip's video.
        into: folder of the dataset.
        recipe: its [export] section applies.
        people: people whose tracks and masks are written; None writes those who are visible in most frames.
        models: networks of the worker; None loads the landmarker in this process.

    Raises:
        MediaError: the clip cannot be read.
        ItemError: people_lost, if not all of these people are found in the written clip.
    """
    path = clip_path(into, clip["clip_id"])
    facts = probe(video)
    copied = can_copy(facts, recipe.export) and copy_stream(video, path)
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
        "num_people": len(people.numbers) if people else -1,
        "people": list(people.numbers) if people else [],
    }
    if recipe.export.tracks or recipe.export.masks:
        landmarker = (models or Models(recipe)).landmarker(recipe.export.engine)
        tracker = FaceTracker(landmarker, fps=written.fps, follow_regions=True)
        row["num_people"] = _write_faces(path, tracker, row["sha256"], recipe.export, people)
    return row


def can_copy(facts: Any, export: Export) -> bool:
    """Return whether a clip needs no re-encoding: H.264 with yuv420p, upright, at the constant rate of the export."""
    is_playable = facts.codec == "h264" and facts.pixel_format == "yuv420p"
    is_upright = facts.shown_as_decoded and facts.square_pixels
    has_rate = not export.fps or abs(facts.fps - export.fps) < 1e-3
    return is_playable and is_upright and facts.constant_rate and has_rate


def copy_stream(video: VideoSource, path: Path) -> bool:
    """Write a clip's video packets without decoding, and return whether that was possible.

    It is not possible if the clip does not begin with a key frame or depends on packets outside of it. Equal packets
    give equal bytes. Audio and other streams are not copied.
    """
    import av

    pieces = [[p.path, p.offset, p.num_bytes] for p in video.pieces]
    with open_container(video.path, pieces, video.unpacked_bytes) as source:
        reader = StreamReader(source, video_stream(source))
        packets = _read_packets(reader, video)
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


def _read_packets(reader: StreamReader, video: VideoSource) -> list[Any]:
    """Return the packets of a span, or an empty list if it does not, or might not, start with a key frame."""
    from exprbench.media.sparse_decoder import packets_of

    end_s = None if video.duration_s is None else Fraction(video.start_s) + Fraction(video.duration_s)
    return packets_of(reader, Span(Fraction(video.start_s).limit_denominator(10**6), end_s))


def _write_faces(path: Path, tracker: FaceTracker, sha256: str, export: Export, people: CountedPeople | None) -> int:
    """Write tracks and masks of the people in an exported clip, and return their number."""
    smooths = is_damaged(_middle_frame(path))
    with open_clip(path) as frames:
        for frame in frames:
            tracker.update(smoothed(frame) if smooths else frame)
    tracks = collect(tracker, sha256, export.engine)
    tracks = select_tracks(tracks, people) if people else _seen_often(tracks)
    if export.tracks:
        save_tracks(path.with_name(path.stem + GIVEN_SUFFIX), tracks)
    if export.masks:
        save_masks(path.with_name(path.stem + MASKS_SUFFIX), face_masks(tracks))
    return len(tracks.tracks)


def _middle_frame(path: Path) -> np.ndarray:
    """Return the middle frame of a clip at the size at which damage is judged in scoring, because size changes it."""
    video = VideoSource(path=str(path))
    facts = probe(video)
    size = Frames(times_s=(), short_side=ScoreMotion().short_side)
    with open_frames(video, [facts.duration_s / 2], short_side=decoded_short_side(asdict(facts), size)) as frames:
        return next(iter(frames))


def _seen_often(tracks: FaceTracks) -> FaceTracks:
    """Return the tracks of faces that are visible in at least `MIN_SEEN` of the frames."""
    return replace(tracks, tracks=tuple(track for track in tracks.tracks if track.seen_rate >= MIN_SEEN))


__all__ = ["MASKS_SUFFIX", "MediaError", "clip_path", "export_clip"]
