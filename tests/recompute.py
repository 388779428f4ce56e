"""Columns of the profile `mediapipe`, recomputed from the files of a case without importing the project.

Everything follows docs/metrics.md: videos are decoded by PyAV, tracks are read with numpy, formulas are written out.
"""

import av
import numpy as np
from mediapipe.tasks.python.vision import FaceLandmarksConnections as Connections
from scipy.spatial.transform import Rotation
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

MAX_LAG = 12
MESH = range(468)
EYES = ((33, 133, 468), (263, 362, 473))  # outer corner, inner corner, iris of the right and the left eye
PARTS = {"brows": range(1, 6), "eyes": range(9, 23), "mouth": range(23, 50)}


def frames_of(path):
    """The RGB frames (T, H, W, 3)."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def faces_of(path):
    """The arrays of each face, and the size of the video."""
    with np.load(path) as file:
        names = ("seen", "landmarks", "blendshapes", "pose")
        count = len(file["seen"])
        return [{name: file[name][i].astype(float) for name in names} for i in range(count)]


def pixel_columns(a, b):
    """Values of the pixel columns of frames and their reference."""
    errors = ((a.astype(float) - b) ** 2).mean((1, 2, 3))
    options = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return {
        "psnr": np.mean([peak_signal_noise_ratio(x, y) if (x != y).any() else 100 for x, y in zip(a, b, strict=True)]),
        "psnr_pooled": 10 * np.log10(255**2 / errors.mean()),
        "psnr_identical": np.mean(errors == 0),
        "ssim": np.mean([structural_similarity(x, y, data_range=255, **options) for x, y in zip(a, b, strict=True)]),
        "l1": np.abs(a.astype(float) - b).mean(),
    }


def frechet(a, b):
    """Distance of features (n, d) as Gaussians; the trace of the matrix root is the sum of the eigenvalues' roots."""
    roots = np.sqrt(np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real.clip(0))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * roots.sum()


def kernel_distance(a, b):
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1)^3, by loops."""

    def mean(x, y):
        same = x is y
        return np.mean(
            [(u @ v / len(u) + 1) ** 3 for i, u in enumerate(x) for j, v in enumerate(y) if not same or i != j]
        )

    return mean(a, a) + mean(b, b) - 2 * mean(a, b)


def _head(face):
    u, _, vt = np.linalg.svd(face["pose"][:, :3, :3])
    return u @ vt


def _gaze(face, size):
    points, heads = face["landmarks"] * (size[0], -size[1], -size[0]), _head(face)
    eyes = []
    for outer, inner, iris in EYES:
        across = points[:, outer] - points[:, inner]
        width = np.linalg.norm(across, axis=1, keepdims=True)
        centre = (points[:, outer] + points[:, inner]) / 2 + 0.036 * across
        centre = centre + width * (0.045 * heads[:, :, 1] - 0.20 * heads[:, :, 2])
        offset = (points[:, iris] - centre)[:, :2] / (0.34 * width)
        sine = np.linalg.norm(offset, axis=1, keepdims=True)
        offset = offset * np.minimum(1, np.sin(np.radians(75)) / sine)
        eyes.append(np.column_stack([offset, np.sqrt(1 - (offset**2).sum(1))]))
    return np.stack(eyes, axis=1)


def _angle(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def _from_angles(yaw, pitch):
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=-1)


def _relative_gaze(gaze):
    yaw, pitch = np.arctan2(gaze[..., 0], gaze[..., 2]), np.arcsin(gaze[..., 1])
    return _from_angles(yaw - np.median(yaw, axis=0), pitch - np.median(pitch, axis=0))


def _relative_head(face):
    heads = Rotation.from_matrix(_head(face))
    return (heads * Rotation.from_rotvec(np.median(heads.as_rotvec(), axis=0)).inv()).as_rotvec()


def _relative_expression(face):
    return face["blendshapes"] - np.median(face["blendshapes"], axis=0)


def _pearson(a, b):
    return np.corrcoef((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel())[0, 1]


def _points(points):
    return sorted({i for connection in points for i in (connection.start, connection.end)})


LIPS = _points(Connections.FACE_LANDMARKS_LIPS)
LIDS = _points(Connections.FACE_LANDMARKS_LEFT_EYE + Connections.FACE_LANDMARKS_RIGHT_EYE)
BROWS = _points(Connections.FACE_LANDMARKS_LEFT_EYEBROW + Connections.FACE_LANDMARKS_RIGHT_EYEBROW)


def _rigid(a, b, size):
    """Mean distance in the image after scipy's Procrustes fit of the prediction to the reference; no mirroring."""
    scale = np.array([size[0], size[1], size[0]])
    result = []
    for r, p in zip(a["landmarks"] * scale, b["landmarks"] * scale, strict=True):
        r0, p0 = r[MESH].mean(0), p[MESH].mean(0)
        turn, _ = Rotation.align_vectors(r[MESH] - r0, p[MESH] - p0)
        turned = turn.apply(p - p0)
        factor = (turned[MESH] * (r[MESH] - r0)).sum() / ((p[MESH] - p0) ** 2).sum()
        result.append(np.linalg.norm((factor * turned + r0 - r)[:, :2] / scale[:2], axis=1).mean())
    return result


def frame_errors(a, b, size):
    """Values per frame of the columns of single frames, of a reference face and its prediction, both always seen."""
    r, p = a["landmarks"][..., :2], b["landmarks"][..., :2]
    distance = np.linalg.norm(r - p, axis=-1)
    pixels = np.linalg.norm((r - p) * size, axis=-1).mean(1)
    gazes, heads = (_gaze(a, size), _gaze(b, size)), (_head(a), _head(b))
    angles = _angle(*gazes)
    in_head = [np.einsum("tji,tej->tei", head, gaze) for head, gaze in zip(heads, gazes, strict=True)]
    is_open = a["blendshapes"][:, [10, 9]] <= 0.5
    with np.errstate(invalid="ignore"):
        mae_open = (angles * is_open).sum(1) / is_open.sum(1)
    vectors = [Rotation.from_matrix(head).as_rotvec() for head in heads]
    turn = Rotation.from_matrix(heads[0]).inv() * Rotation.from_matrix(heads[1])
    shapes = np.abs(a["blendshapes"] - b["blendshapes"])
    return {
        "lmd": distance.mean(1),
        "lmd_px": pixels,
        "lmd_iod": pixels / np.linalg.norm((r[:, 33] - r[:, 263]) * size, axis=-1),
        "lmd_rigid": _rigid(a, b, size),
        "lmd_mesh": distance[:, MESH].mean(1),
        "lmd_lips": distance[:, LIPS].mean(1),
        "lmd_eyes": distance[:, LIDS].mean(1),
        "lmd_brows": distance[:, BROWS].mean(1),
        "mae": angles.mean(1),
        "mae_open": mae_open,
        "mae_in_head": _angle(*in_head).mean(1),
        "mae_rel": _angle(*map(_relative_gaze, gazes)).mean(1),
        "aed": shapes.mean(1),
        "aed_rmse": np.sqrt((shapes**2).mean(1)),
        **{f"aed_{part}": shapes[:, chosen].mean(1) for part, chosen in PARTS.items()},
        "aed_rel": np.abs(_relative_expression(a) - _relative_expression(b)).mean(1),
        "apd": np.abs(vectors[0] - vectors[1]).mean(1),
        "apd_rmse": np.sqrt(((vectors[0] - vectors[1]) ** 2).mean(1)),
        "apd_deg": np.degrees(turn.magnitude()),
        "apd_rel": np.abs(_relative_head(a) - _relative_head(b)).mean(1),
        "apd_rotmat": np.abs(heads[0] - heads[1]).mean((1, 2)),
    }


def _cut(face, start, stop):
    return {name: values[start:stop] for name, values in face.items()}


def _at(a, b, shift):
    """Frame t of the reference and t + shift of the prediction."""
    length = len(a["pose"])
    first, second = max(0, -shift), max(0, shift)
    size = length - abs(shift)
    return _cut(a, first, first + size), _cut(b, second, second + size)


def face_columns(a, b, size):
    """Values of the columns of one face."""
    columns = {name: np.nanmean(values) for name, values in frame_errors(a, b, size).items()}
    columns["follow_expression"] = _pearson(a["blendshapes"], b["blendshapes"])
    columns["follow_pose"] = _pearson(_relative_head(a), _relative_head(b))
    motions = [{"e": f["blendshapes"], "h": _relative_head(f), "pose": f["pose"]} for f in (a, b)]
    scores = {}
    for shift in range(-MAX_LAG, MAX_LAG + 1):
        x, y = _at(*motions, shift)
        scores[shift] = _pearson(x["e"], y["e"]) + _pearson(x["h"], y["h"])
    best = max(scores, key=scores.__getitem__)
    at_best = frame_errors(*_at(a, b, best), size)
    columns["lag"] = abs(best)
    names = ("lmd", "mae", "aed", "apd", "aed_rel", "apd_rel")
    return columns | {f"{name}_at_lag": np.mean(at_best[name]) for name in names}


def people_columns(drivers, predicted):
    """`swap` and `swap_margin` of several people."""

    def apart(a, b):
        return np.array(
            [
                np.abs(_relative_expression(a) - _relative_expression(b)).mean(1),
                np.abs(_relative_head(a) - _relative_head(b)).mean(1),
            ]
        )

    people = range(len(drivers))
    between = [apart(drivers[i], drivers[j]).mean(1) for i in people for j in people if i != j]
    scale = np.mean(between, axis=0)[:, None]
    nearer, margins = [], []
    for i in people:
        distances = [(apart(driver, predicted[i]) / scale).sum(0) for driver in drivers]
        other = np.min([distances[j] for j in people if j != i], axis=0)
        nearer.append(other < distances[i])
        margins.append((other - distances[i]) / (other + distances[i]))
    return {"swap": np.mean(nearer), "swap_margin": np.mean(margins)}
