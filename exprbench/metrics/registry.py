"""Every number this package can give: its name, its id, what it means, and how a table prints it.

An id spells the variant out; numbers whose ids differ are different quantities. `docs/metrics.md` defines each.
"""

from dataclasses import dataclass, field

from exprbench.metrics.clip_grid import DEFAULT_GRID, PRESETS

PROFILES = ("mediapipe", "paper")
SELF, CROSS = "self", "cross"
INCEPTION, I3D = "inception2015,clean299,pool3", "i3d-k400"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A column of the paper's Table 1.

    Attributes:
        ids: profile -> id.
        weights: profile -> names of the model files it needs (of `exprbench.weights`).
        tracks: where the table shows it. `defined_on`: where it means something.
        table_scale: what a value is multiplied by before it is printed with `decimals` digits.
        worst: profile -> the value a face nobody found gets where missing faces are penalised.
    """

    name: str
    column: str
    meaning: str
    ids: dict[str, str]
    weights: dict[str, tuple[str, ...]]
    tracks: tuple[str, ...]
    defined_on: tuple[str, ...]
    higher_is_better: bool = False
    unit: str = ""
    table_scale: float = 1.0
    decimals: int = 2
    worst: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A further column: another reading of the metric `parent`, whose direction and weights it shares.

    Attributes:
        ids: profile -> id, for the profiles that have it.
        on_request: needs further passes through a network, so it is computed only when asked for by name.
    """

    name: str
    parent: str
    meaning: str
    ids: dict[str, str]
    unit: str = ""
    table_scale: float = 1.0
    decimals: int = 2
    on_request: bool = False
    worst: dict[str, float] = field(default_factory=dict)

    @property
    def higher_is_better(self) -> bool:
        """As its parent."""
        return METRICS[self.parent].higher_is_better


def _both(value: object) -> dict:
    return dict.fromkeys(PROFILES, value)


def _each(mediapipe: object, paper: object) -> dict:
    return {"mediapipe": mediapipe, "paper": paper}


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(
            name="fid",
            column="FID",
            meaning="distance between the frames of all videos and of all references, as Inception sees them",
            ids=_both(f"fid[{INCEPTION}]"),
            weights=_both(("inception",)),
            tracks=(SELF,),
            defined_on=(SELF,),
        ),
        Metric(
            name="fvd",
            column="FVD",
            meaning="distance between the 16-frame clips of all videos and of all references, as I3D sees them",
            ids=_both(f"fvd[{I3D},{DEFAULT_GRID.label()}]"),
            weights=_both(("i3d",)),
            tracks=(SELF,),
            defined_on=(SELF,),
        ),
        Metric(
            name="psnr",
            column="PSNR",
            meaning="peak signal over noise, a frame at a time",
            ids=_both("psnr[rgb,frame-mean,cap100]"),
            weights=_both(()),
            tracks=(SELF,),
            defined_on=(SELF,),
            higher_is_better=True,
            unit="dB",
        ),
        Metric(
            name="ssim",
            column="SSIM",
            meaning="structural similarity, a frame at a time",
            ids=_both("ssim[rgb,gauss11,valid]"),
            weights=_both(()),
            tracks=(SELF,),
            defined_on=(SELF,),
            higher_is_better=True,
            decimals=3,
        ),
        Metric(
            name="lmd",
            column="LMD",
            meaning="mean distance of face landmarks, in widths and heights of the frame",
            ids=_both("lmd[mp478,unit]"),
            weights=_both(("face_landmarker",)),
            tracks=(SELF,),
            defined_on=(SELF,),
            unit="1e-3",
            table_scale=1e3,
            worst=_both(1.0),
        ),
        Metric(
            name="mae",
            column="MAE",
            meaning="mean angle between the directions of gaze",
            ids=_each("mae[mp-iris]", "mae[l2cs-gaze360]"),
            weights=_each(("face_landmarker",), ("face_landmarker", "l2cs")),
            tracks=(SELF, CROSS),
            defined_on=(SELF, CROSS),
            unit="degrees",
            worst=_both(90.0),
        ),
        Metric(
            name="aed",
            column="AED",
            meaning="mean difference of expression coefficients",
            ids=_each("aed[mp-bs52,l1-mean]", "aed[smirk,exp50,l1-mean]"),
            weights=_each(("face_landmarker",), ("face_landmarker", "smirk")),
            tracks=(CROSS,),
            defined_on=(SELF, CROSS),
            unit="1e-2",
            table_scale=1e2,
            worst=_each(1.0, 2.0),
        ),
        Metric(
            name="apd",
            column="APD",
            meaning="mean difference of head rotation, in radians of each axis",
            ids=_each("apd[mp-rot,axis-angle,l1-mean]", "apd[smirk,axis-angle,l1-mean]"),
            weights=_each(("face_landmarker",), ("face_landmarker", "smirk")),
            tracks=(CROSS,),
            defined_on=(SELF, CROSS),
            unit="1e-3",
            table_scale=1e3,
            worst=_both(1.0),
        ),
    )
}


def _lmd(name: str, variant: str, meaning: str, **options: object) -> Extra:
    options = {"unit": "1e-3", "table_scale": 1e3, "worst": _both(1.0), **options}
    return Extra(name=name, parent="lmd", meaning=meaning, ids=_both(f"lmd[{variant}]"), **options)  # type: ignore[arg-type]


def _aed_part(part: str) -> Extra:
    return Extra(
        name=f"aed_{part}",
        parent="aed",
        meaning=f"AED over the blendshapes of the {part}",
        ids={"mediapipe": f"aed[mp-bs-{part},l1-mean]"},
        unit="1e-2",
        table_scale=1e2,
        worst=_both(1.0),
    )


def _fvd_preset(preset: str) -> Extra:
    return Extra(
        name=f"fvd_{preset}",
        parent="fvd",
        meaning=f"FVD over the clips of the preset {preset}",
        ids=_both(f"fvd[{I3D},{PRESETS[preset].label()}]"),
        on_request=True,
    )


EXTRAS: dict[str, Extra] = {
    e.name: e
    for e in (
        Extra(
            name="fid_video_mean",
            parent="fid",
            meaning="FID of each video's frames to its own reference's, averaged over videos",
            ids=_both(f"fid[{INCEPTION},video-mean]"),
        ),
        Extra(
            name="fid_pytorch",
            parent="fid",
            meaning="FID as pytorch-fid resizes: bilinear, no antialiasing",
            ids=_both("fid[inception2015,pytorch299,pool3]"),
            on_request=True,
        ),
        *(_fvd_preset(preset) for preset in PRESETS),
        Extra(
            name="psnr_pooled",
            parent="psnr",
            meaning="PSNR of a video's mean squared error",
            ids=_both("psnr[rgb,pooled,cap100]"),
            unit="dB",
        ),
        Extra(
            name="psnr_identical",
            parent="psnr",
            meaning="share of frames equal to the reference in every pixel",
            ids=_both("psnr[rgb,identical-share]"),
            decimals=3,
        ),
        _lmd("lmd_px", "mp478,px", "LMD in pixels of the reference", unit="px", table_scale=1.0, worst={}),
        _lmd(
            "lmd_iod",
            "mp478,iod",
            "LMD over the distance of the reference's outer eye corners",
            unit="1e-2",
            table_scale=1e2,
            worst={},
        ),
        _lmd("lmd_rigid", "mp478,rigid,unit", "LMD after the best turn, shift and scale of the head: expression only"),
        _lmd("lmd_mesh", "mp468,unit", "LMD without the irises"),
        _lmd("lmd_lips", "mp-lips,unit", "LMD of the lips"),
        _lmd("lmd_eyes", "mp-eyes,unit", "LMD of the eyelids"),
        _lmd("lmd_brows", "mp-brows,unit", "LMD of the eyebrows"),
        Extra(
            name="mae_open",
            parent="mae",
            meaning="MAE over eyes that are open in the reference",
            ids=_each("mae[mp-iris,open-eyes]", "mae[l2cs-gaze360,open-eyes]"),
            unit="degrees",
            worst=_both(90.0),
        ),
        Extra(
            name="mae_in_head",
            parent="mae",
            meaning="MAE of the gaze relative to the head",
            ids={"mediapipe": "mae[mp-iris,in-head]"},
            unit="degrees",
            worst=_both(90.0),
        ),
        Extra(
            name="aed_rmse",
            parent="aed",
            meaning="root mean square instead of mean absolute difference",
            ids=_each("aed[mp-bs52,rmse]", "aed[smirk,exp50,rmse]"),
            unit="1e-2",
            table_scale=1e2,
            worst=_each(1.0, 2.0),
        ),
        Extra(
            name="aed_full",
            parent="aed",
            meaning="AED over expression, eyelids and jaw",
            ids={"paper": "aed[smirk,exp50+eyelid2+jaw3,l1-mean]"},
            unit="1e-2",
            table_scale=1e2,
            worst=_both(2.0),
        ),
        *(_aed_part(part) for part in ("brows", "eyes", "mouth")),
        Extra(
            name="apd_deg",
            parent="apd",
            meaning="angle of the rotation between the two heads",
            ids=_each("apd[mp-rot,geodesic]", "apd[smirk,geodesic]"),
            unit="degrees",
            worst=_both(180.0),
        ),
        Extra(
            name="apd_rmse",
            parent="apd",
            meaning="root mean square instead of mean absolute difference",
            ids=_each("apd[mp-rot,axis-angle,rmse]", "apd[smirk,axis-angle,rmse]"),
            unit="1e-3",
            table_scale=1e3,
            worst=_both(1.0),
        ),
    )
}


def metric_ids(profile: str) -> dict[str, str]:
    """Name -> id of every metric and extra of a profile."""
    return {c.name: c.ids[profile] for c in (*METRICS.values(), *EXTRAS.values()) if profile in c.ids}


def parent_of(metric_id: str) -> Metric:
    """The metric an id is a variant of: `fid[toy64]` is one of FID's."""
    return METRICS[metric_id.split("[", 1)[0]]
