"""Show decoded frames as players do: mirrored and rotated, deinterlaced, and HDR mapped to standard displays."""

from typing import Any

import numpy as np

from exprbench.media.errors import MediaError

HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
TO_SDR = "out_primaries=bt709:out_transfer=bt709:out_color_matrix=bt709:out_range=tv:intent=perceptual"
SDR_FORMAT = "yuv444p"

Matrix = list[list[int]]


def orient(rgb: np.ndarray, matrix: Matrix) -> np.ndarray:
    """Return an (H, W, 3) image mirrored and rotated by a matrix of `display_matrix`; contiguous."""
    (a, b), (c, d) = matrix
    if b or c:  # rows become columns
        rgb, a, d = rgb.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def display_matrix(frame: Any) -> Matrix:
    """Return the linear part of a frame's display matrix, ((a, b), (c, d)), with entries -1, 0 and 1.

    The pixel (x, y) is shown at (a x + c y, b x + d y). Angles other than quarter turns are rounded to them. The frame
    and its side data then refer to each other, so its memory is released late: do not call this for every frame.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data:
        matrix = np.frombuffer(bytes(side_data), "=i4").reshape(3, 3)[:2, :2].astype(float)
        rounded = np.rint(matrix / (np.abs(matrix).max() or 1)).astype(int)
        if (np.abs(rounded).sum(0) == 1).all() and (np.abs(rounded).sum(1) == 1).all():
            return rounded.tolist()
    turns = round(frame.rotation / 90) % 4
    return [[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]][turns]


def is_shown_as_decoded(frame: Any) -> bool:
    """Return whether a frame is neither rotated, mirrored, interlaced nor HDR."""
    return display_matrix(frame) == [[1, 0], [0, 1]] and not frame.interlaced_frame and not _hdr(frame)


def to_sdr_progressive(frame: Any, graphs: dict[str, Any]) -> Any:
    """Return a frame without interlacing and HDR; `graphs` keeps filter graphs between calls.

    FFmpeg's `estdif` interpolates the second field of an interlaced frame from the first, and `scale` maps PQ and HLG
    to BT.709. Other frames are returned as they are.

    Raises:
        MediaError: this version of FFmpeg cannot convert HDR.
    """
    if frame.interlaced_frame:
        frame = _filter(_graph(frame, "estdif", "mode=frame:deint=interlaced"), frame)
    if hdr := _hdr(frame):
        key = f"{hdr} {frame.width}x{frame.height} {frame.format.name}"
        if key not in graphs:
            graphs[key] = _sdr_graph(frame, hdr)
        graphs[key].push(frame)
        frame = graphs[key].pull()
    return frame


def _hdr(frame: Any) -> str:
    """Return the kind of HDR of a frame, an empty text if it has none."""
    return HDR.get(int(getattr(frame, "color_trc", 0) or 0), "")


def _sdr_graph(frame: Any, hdr: str) -> Any:
    try:
        return _graph(frame, "scale", TO_SDR, SDR_FORMAT)
    except Exception as error:  # FFmpeg before 7.1 has no such options; the class of the error depends on PyAV
        convert = "convert it to SDR, or install a newer PyAV"
        raise MediaError("open_failed", f"it is HDR ({hdr}), which this FFmpeg cannot map; {convert}") from error


def _graph(frame: Any, name: str, arguments: str, pixel_format: str | None = None) -> Any:
    """Return a filter graph for frames such as this one."""
    import av.filter

    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or 1),
        graph.add(name, arguments),
        *([graph.add("format", pixel_format)] if pixel_format else []),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph


def _filter(graph: Any, frame: Any) -> Any:
    """Return the one frame that a graph makes of a frame."""
    graph.push(frame)
    graph.push(None)
    return graph.pull()
