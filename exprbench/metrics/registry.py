"""The registry of columns: meaning, inputs, model files, and format in tables of every number.

Everything that depends on a column (scoring, tables, reports) reads it here. To add one, write its function in a file
of this package and add an entry below; `docs/extending.md` shows an example. An id spells out the variant: numbers
whose ids differ are different quantities. `docs/metrics.md` defines each.
"""

from dataclasses import replace
from typing import Any

from exprbench.metrics.clip_grid import DEFAULT_GRID, PRESETS
from exprbench.metrics.further_columns import FURTHER_COLUMNS
from exprbench.metrics.metric import (
    CROSS,
    INCEPTION,
    LANDMARKER,
    SELF,
    ClipStream,
    FrameStream,
    Metric,
)
from exprbench.metrics.metric import both as _both
from exprbench.metrics.metric import each as _each

I3D = "i3d-k400"


FID = Metric(
    name="fid",
    parent="fid",
    title="FID",
    meaning="Fréchet distance between Inception features of all frames and of all reference frames",
    kind="set",
    per="group",
    compute="set_distance:set_distance",
    stream=FrameStream(load="fid:load", resize="clean299"),
    ids=_both(f"fid[{INCEPTION}]"),
    weights=_both(("inception",)),
    tracks=(SELF,),
    defined_on=(SELF,),
)
FVD = replace(
    FID,
    name="fvd",
    parent="fvd",
    title="FVD",
    meaning="Fréchet distance between I3D features of all 16-frame clips and of all reference clips",
    stream=ClipStream(load="fvd:load", grid=DEFAULT_GRID),
    ids=_both(f"fvd[{I3D},{DEFAULT_GRID.label()}]"),
    weights=_both(("i3d",)),
)
PSNR = Metric(
    name="psnr",
    parent="psnr",
    title="PSNR",
    meaning="peak signal-to-noise ratio of each frame",
    kind="pixel",
    measure="psnr:squared_error",
    compute="psnr:frame_mean",
    ids=_both("psnr[rgb,frame-mean,cap100]"),
    tracks=(SELF,),
    defined_on=(SELF,),
    higher_is_better=True,
    unit="dB",
)
SSIM = Metric(
    name="ssim",
    parent="ssim",
    title="SSIM",
    meaning="structural similarity of each frame",
    kind="pixel",
    measure="ssim:ssim",
    compute="ssim:frame_mean",
    ids=_both("ssim[rgb,gauss11,valid]"),
    tracks=(SELF,),
    defined_on=(SELF,),
    higher_is_better=True,
    decimals=3,
)
LMD = Metric(
    name="lmd",
    parent="lmd",
    title="LMD",
    meaning="mean distance between face landmarks, in frame widths and heights",
    kind="face",
    compute="lmd:lmd",
    ids=_both("lmd[mp478,unit,center]"),
    weights=_both((LANDMARKER,)),
    tracks=(SELF,),
    defined_on=(SELF,),
    unit="1e-3",
    table_scale=1e3,
    worst=_both(1.0),
)
MAE = Metric(
    name="mae",
    parent="mae",
    title="MAE",
    meaning="mean angle between gaze directions",
    kind="face",
    compute="mae:mae",
    ids=_each("mae[mp-iris]", "mae[l2cs-gaze360]"),
    weights=_each((LANDMARKER,), (LANDMARKER, "l2cs")),
    tracks=(SELF, CROSS),
    defined_on=(SELF, CROSS),
    unit="degrees",
    worst=_both(90.0),
)
AED = Metric(
    name="aed",
    parent="aed",
    title="AED",
    meaning="mean absolute difference between expression coefficients",
    kind="face",
    compute="aed:aed",
    ids=_each("aed[mp-bs52,l1-mean]", "aed[smirk,exp50,l1-mean]"),
    weights=_each((LANDMARKER,), (LANDMARKER, "smirk")),
    tracks=(CROSS,),
    defined_on=(SELF, CROSS),
    unit="1e-2",
    table_scale=1e2,
    worst=_each(1.0, 2.0),
)
APD = Metric(
    name="apd",
    parent="apd",
    title="APD",
    meaning="mean absolute difference between head rotations, in radians per axis",
    kind="face",
    compute="apd:apd",
    ids=_each("apd[mp-rot,axis-angle,l1-mean]", "apd[smirk,axis-angle,l1-mean]"),
    weights=_each((LANDMARKER,), (LANDMARKER, "smirk")),
    tracks=(CROSS,),
    defined_on=(SELF, CROSS),
    unit="1e-3",
    table_scale=1e3,
    worst=_both(1.0),
)


def _variant(metric: Metric, name: str, meaning: str, **changes: Any) -> Metric:
    """Return a variant of a metric that differs only in name, meaning and `changes`."""
    return replace(metric, name=name, title=name, meaning=meaning, tracks=(), **changes)


def _lmd(name: str, variant: str, meaning: str, **changes: Any) -> Metric:
    return _variant(LMD, name, meaning, ids=_both(f"lmd[{variant}]"), compute=f"lmd:{name}", **changes)


def _aed_part(part: str) -> Metric:
    ids = {"mediapipe": f"aed[mp-bs-{part},l1-mean]"}
    return _variant(AED, f"aed_{part}", f"AED of the {part} blendshapes", compute=f"aed:aed_{part}", ids=ids)


def _fvd_preset(preset: str) -> Metric:
    return _variant(
        FVD,
        f"fvd_{preset}",
        f"FVD over the clips of the preset {preset}",
        stream=ClipStream(load="fvd:load", grid=PRESETS[preset]),
        ids=_both(f"fvd[{I3D},{PRESETS[preset].label()}]"),
        on_request=True,
    )


_EXTRAS = (
    _variant(
        FID,
        "fid_video_mean",
        "FID between the frames of each video and of its reference, averaged over videos",
        per="case",
        compute="frechet:frechet_distance",
        ids=_both(f"fid[{INCEPTION},video-mean]"),
    ),
    _variant(
        FID,
        "fid_pytorch",
        "FID with the resize of pytorch-fid: bilinear, without antialiasing",
        stream=FrameStream(load="fid:load", resize="pytorch299"),
        ids=_both("fid[inception2015,pytorch299,pool3]"),
        on_request=True,
    ),
    *(_fvd_preset(preset) for preset in PRESETS),
    _variant(
        PSNR,
        "psnr_pooled",
        "PSNR of the mean squared error of a whole video",
        compute="psnr:pooled",
        ids=_both("psnr[rgb,pooled,cap100]"),
    ),
    _variant(
        PSNR,
        "psnr_identical",
        "share of frames that equal the reference in every pixel",
        compute="psnr:identical_share",
        ids=_both("psnr[rgb,identical-share]"),
        unit="",
        decimals=3,
    ),
    _lmd("lmd_px", "mp478,px,center", "LMD in pixels of the reference", unit="px", table_scale=1.0, worst={}),
    _lmd(
        "lmd_iod",
        "mp478,iod,center",
        "LMD divided by the distance between the reference's outer eye corners",
        unit="1e-2",
        table_scale=1e2,
        worst={},
    ),
    _lmd("lmd_rigid", "mp478,rigid,unit,center", "LMD after the best rotation, translation and scale of the head"),
    _lmd("lmd_mesh", "mp468,unit,center", "LMD without the irises"),
    _lmd("lmd_lips", "mp-lips,unit,center", "LMD of the lips"),
    _lmd("lmd_eyes", "mp-eyes,unit,center", "LMD of the eyelids"),
    _lmd("lmd_brows", "mp-brows,unit,center", "LMD of the eyebrows"),
    _variant(
        MAE,
        "mae_open",
        "MAE over eyes that are open in the reference",
        compute="mae:mae_open",
        ids=_each("mae[mp-iris,open-eyes]", "mae[l2cs-gaze360,open-eyes]"),
    ),
    _variant(
        MAE,
        "mae_in_head",
        "MAE of the gaze relative to the head",
        compute="mae:mae_in_head",
        ids={"mediapipe": "mae[mp-iris,in-head]"},
    ),
    _variant(
        AED,
        "aed_rmse",
        "AED with the root mean square instead of the mean absolute difference",
        compute="aed:aed_rmse",
        ids=_each("aed[mp-bs52,rmse]", "aed[smirk,exp50,rmse]"),
    ),
    _variant(
        AED,
        "aed_full",
        "AED over expression, eyelids and jaw",
        compute="aed:aed_full",
        ids={"paper": "aed[smirk,exp50+eyelid2+jaw3,l1-mean]"},
    ),
    *(_aed_part(part) for part in ("brows", "eyes", "mouth")),
    _variant(
        APD,
        "apd_deg",
        "angle of the rotation between the two heads",
        compute="apd:apd_deg",
        ids=_each("apd[mp-rot,geodesic]", "apd[smirk,geodesic]"),
        unit="degrees",
        table_scale=1.0,
        worst=_both(180.0),
    ),
    _variant(
        APD,
        "apd_rmse",
        "APD with the root mean square instead of the mean absolute difference",
        compute="apd:apd_rmse",
        ids=_each("apd[mp-rot,axis-angle,rmse]", "apd[smirk,axis-angle,rmse]"),
    ),
)

METRICS: dict[str, Metric] = {m.name: m for m in (FID, FVD, PSNR, SSIM, LMD, AED, APD, MAE)}
EXTRAS: dict[str, Metric] = {m.name: m for m in (*_EXTRAS, *FURTHER_COLUMNS)}
COLUMNS: dict[str, Metric] = {**METRICS, **EXTRAS}


def metric_ids(profile: str) -> dict[str, str]:
    """Return name -> id of every column of a profile."""
    return {m.name: m.ids[profile] for m in COLUMNS.values() if profile in m.ids}


def parent_metric(metric_id: str) -> Metric:
    """Return the metric of Table 1 that an id is a variant of, such as FID for `fid[toy64]`."""
    return METRICS[COLUMNS[metric_id.split("[", 1)[0]].parent]
