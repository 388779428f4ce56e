"""Columns that are not in the paper's Table 1 and that the field asks for; `docs/metrics.md` defines each."""

from dataclasses import replace
from typing import Any

from exprbench.metrics.clip_grid import DEFAULT_GRID
from exprbench.metrics.metric import CROSS, INCEPTION, LANDMARKER, SELF, ClipStream, FrameStream, Metric, both, each

_TRACKS = (SELF, CROSS)
_EXPRESSION = ("mp-bs52", "smirk,exp50")
_POSE = ("mp-rot", "smirk")
_GAZE = ("mp-iris", "l2cs-gaze360")
_FACE_WEIGHTS = each((LANDMARKER,), (LANDMARKER, "smirk"))
_GAZE_WEIGHTS = each((LANDMARKER,), (LANDMARKER, "l2cs"))


def _face(name: str, parent: str, module: str, meaning: str, ids: dict[str, str], **changes: Any) -> Metric:
    """Return a face column that `module:name` computes; `changes` replace the defaults below."""
    options = {"weights": _FACE_WEIGHTS, "defined_on": _TRACKS, "over": "video", **changes}
    return Metric(
        name=name,
        parent=parent,
        title=name,
        compute=f"{module}:{name}",
        meaning=meaning,
        ids=ids,
        kind="face",
        **options,
    )


def _ids(pattern: str, *names: tuple[str, str]) -> dict[str, str]:
    """Return the ids of both profiles; each `{}` of the pattern is replaced by the profile's part."""
    return each(*(pattern.format(*parts) for parts in zip(*names, strict=True)))


_EXPRESSION_SCALE = {"unit": "1e-2", "table_scale": 1e2}
_POSE_SCALE = {"unit": "1e-3", "table_scale": 1e3}
_GAZE_SCALE = {"unit": "degrees", "weights": _GAZE_WEIGHTS}

AED_REL = _face(
    "aed_rel",
    "aed",
    "neutral",
    "AED with each side relative to its own median expression",
    _ids("aed[{},rel-median,l1-mean]", _EXPRESSION),
    worst=each(1.0, 2.0),
    **_EXPRESSION_SCALE,
)
APD_REL = _face(
    "apd_rel",
    "apd",
    "neutral",
    "APD with each side relative to its own median head rotation",
    _ids("apd[{},rel-median,axis-angle,l1-mean]", _POSE),
    worst=both(1.0),
    **_POSE_SCALE,
)
MAE_REL = _face(
    "mae_rel",
    "mae",
    "neutral",
    "MAE with each side relative to its own median gaze",
    _ids("mae[{},rel-median]", _GAZE),
    worst=both(90.0),
    **_GAZE_SCALE,
)
FOLLOW_EXPRESSION = _face(
    "follow_expression",
    "aed",
    "follow",
    "correlation over time of the expressions of driver and prediction",
    _ids("follow_expression[{},pearson]", _EXPRESSION),
    higher_is_better=True,
    decimals=3,
)
FOLLOW_POSE = _face(
    "follow_pose",
    "apd",
    "follow",
    "correlation over time of the head rotations of driver and prediction",
    _ids("follow_pose[{},pearson]", _POSE),
    higher_is_better=True,
    decimals=3,
)
LAG = _face(
    "lag",
    "aed",
    "follow",
    "constant shift between driver and prediction that fits best, in frames",
    _ids("lag[{}+{},pearson,max12]", _EXPRESSION, _POSE),
    unit="frames",
)
SWAP = _face(
    "swap",
    "aed",
    "swap",
    "share of frames in which a face follows a neighbour's driver more than its own; two or more people",
    _ids("swap[{}+{},rel-median,share]", _EXPRESSION, _POSE),
    over="people",
    decimals=3,
)
SWAP_MARGIN = _face(
    "swap_margin",
    "aed",
    "swap",
    "margin by which faces follow their own driver rather than a neighbour's, in [-1, 1]; two or more people",
    _ids("swap[{}+{},rel-median,margin]", _EXPRESSION, _POSE),
    over="people",
    higher_is_better=True,
    decimals=3,
)


def _at_lag(name: str, ids: dict[str, str], **changes: Any) -> Metric:
    parent = name.split("_", maxsplit=1)[0]
    return _face(f"{name}_at_lag", parent, "follow", f"{name} at the shift of `lag`", ids, **changes)


_AT_LAG = (
    _at_lag("lmd", _ids("lmd[mp478,unit,center,at-lag-{}]", _POSE), defined_on=(SELF,), **_POSE_SCALE),
    _at_lag(
        "mae",
        _ids("mae[{},at-lag-{}]", _GAZE, _POSE),
        unit="degrees",
        weights=each((LANDMARKER,), (LANDMARKER, "l2cs", "smirk")),
    ),
    _at_lag("aed", _ids("aed[{},at-lag,l1-mean]", _EXPRESSION), **_EXPRESSION_SCALE),
    _at_lag("apd", _ids("apd[{},at-lag,axis-angle,l1-mean]", _POSE), **_POSE_SCALE),
    _at_lag("aed_rel", _ids("aed[{},rel-median,at-lag,l1-mean]", _EXPRESSION), **_EXPRESSION_SCALE),
    _at_lag("apd_rel", _ids("apd[{},rel-median,at-lag,axis-angle,l1-mean]", _POSE), **_POSE_SCALE),
)

AED_GROUPS = _face(
    "aed_groups",
    "aed",
    "aed",
    "mean of the AEDs of expression, eyelids and jaw, each over its own coefficients",
    {"paper": "aed[smirk,mean(exp50,eyelid2,jaw3)]"},
    over="frame",
    **_EXPRESSION_SCALE,
)
APD_ROTMAT = _face(
    "apd_rotmat",
    "apd",
    "apd",
    "mean absolute difference of the nine entries of the head rotation matrices",
    {"mediapipe": "apd[mp-rotmat9]"},
    over="frame",
    **_POSE_SCALE,
)
L1 = Metric(
    name="l1",
    parent="psnr",
    title="l1",
    meaning="mean absolute difference of the RGB values of each frame, in [0, 255]",
    kind="pixel",
    measure="l1:absolute_error",
    compute="l1:frame_mean",
    ids=both("l1[rgb,frame-mean]"),
    defined_on=(SELF,),
)
LPIPS = Metric(
    name="lpips",
    parent="psnr",
    title="lpips",
    meaning="distance of deep features of each frame, by AlexNet",
    kind="pixel",
    measure="lpips:distance",
    compute="l1:frame_mean",
    ids=both("lpips[alex,v0.1,native-size]"),
    weights=both(("alexnet",)),
    defined_on=(SELF,),
    decimals=3,
    on_request=True,
)
KID = Metric(
    name="kid",
    parent="fid",
    title="kid",
    meaning="kernel distance between Inception features of all frames and of all reference frames, unbiased",
    kind="set",
    per="group",
    compute="kid:kid_distance",
    stream=FrameStream(load="fid:load", resize="clean299"),
    ids=both(f"kid[{INCEPTION},poly3,unbiased]"),
    weights=both(("inception",)),
    defined_on=(SELF,),
    unit="1e-3",
    table_scale=1e3,
    on_request=True,
)

FVD_VIDEOMAE = Metric(
    name="fvd_videomae",
    parent="fvd",
    title="fvd_videomae",
    meaning="Fréchet distance between VideoMAE features of all 16-frame clips and of all reference clips",
    kind="set",
    per="group",
    compute="set_distance:set_distance",
    stream=ClipStream(load="videomae:load", grid=DEFAULT_GRID),
    ids=both(f"fvd[videomae2-g-ssv2,{DEFAULT_GRID.label()}]"),
    weights=both(("videomae",)),
    defined_on=(SELF,),
    on_request=True,
)
CSIM = _face(
    "csim",
    "aed",
    "csim",
    "cosine similarity of the identity of each face to that of the source image, by dlib's network",
    both("csim[dlib-resnet-v1,mp-align5,cosine]"),
    weights=both((LANDMARKER, "dlib_identity")),
    worst=both(0.0),
    over="frame",
    higher_is_better=True,
    decimals=3,
    on_request=True,
)
CSIM_ARCFACE = replace(
    CSIM,
    name="csim_arcface",
    title="csim_arcface",
    compute="csim:csim_arcface",
    meaning="cosine similarity of the identity of each face to that of the source image, by ArcFace",
    ids=both("csim[arcface-w600k-r50,mp-align5,cosine]"),
    weights=both((LANDMARKER, "arcface")),
)

FURTHER_COLUMNS: tuple[Metric, ...] = (
    AED_REL,
    APD_REL,
    MAE_REL,
    FOLLOW_EXPRESSION,
    FOLLOW_POSE,
    LAG,
    *_AT_LAG,
    SWAP,
    SWAP_MARGIN,
    AED_GROUPS,
    APD_ROTMAT,
    L1,
    LPIPS,
    KID,
    FVD_VIDEOMAE,
    CSIM,
    CSIM_ARCFACE,
)
