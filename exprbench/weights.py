"""Model files: source, hash and licence of each, and functions to locate, download and verify them.

Files are located in the folders of `$EXPRBENCH_WEIGHTS`, then in the cache; `fetch` downloads them into the cache.
"""

import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from exprbench.core.cache import cache_root
from exprbench.core.errors import ItemError, UserError, unknown_name
from exprbench.core.files import atomic_path, sha256_path

CHUNK = 1 << 20
CONNECT_S = 30
TRUST = "EXPRBENCH_TRUST"  # set to 1, lets files of unknown hash be loaded that can hold code


class WeightsError(ItemError):
    """A model file is missing (`weights_missing`) or invalid (`weights_differ`); the detail says how to get it."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One model file.

    Attributes:
        sha256: published hash; empty if there is none.
        url: direct download; empty if the file must be downloaded in a browser, from `source`.
        num_bytes: size; 0 if unknown.
        package: package that reads the file, if it is not installed with exprbench; `extra` installs it.
        comes_with: package whose folder `models` contains the file; empty for a download.
        exports: names of files or folders with the network in other formats, exported by the user and without a
            published hash.
    """

    name: str
    filename: str
    used_by: str
    licence: str
    source: str
    url: str = ""
    num_bytes: int = 0
    sha256: str = ""
    package: str = ""
    extra: str = ""
    comes_with: str = ""
    exports: tuple[str, ...] = ()


ALL = {
    w.name: w
    for w in (
        Weights(
            name="inception",
            filename="pt_inception-2015-12-05-6726825d.pth",
            used_by="fid",
            licence="Apache-2.0",
            source="github.com/mseitzer/pytorch-fid",
            url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            num_bytes=95_628_359,
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        ),
        Weights(
            name="i3d",
            filename="i3d_torchscript.pt",
            used_by="fvd",
            licence="Apache-2.0 (Kinetics-400 I3D, converted by the authors of StyleGAN-V)",
            source="github.com/universome/stylegan-v",
            url="https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/"
            "1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
            num_bytes=51_235_320,
            sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        ),
        Weights(
            name="face_landmarker",
            filename="face_landmarker.task",
            used_by="lmd mae aed apd",
            licence="Apache-2.0",
            source="ai.google.dev/edge/mediapipe",
            url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
            num_bytes=3_758_596,
            sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        ),
        Weights(
            name="l2cs",
            filename="L2CSNet_gaze360.pkl",
            used_by="mae, profile paper",
            licence="MIT (code); trained on Gaze360, research use",
            source="drive.google.com/drive/folders/17p6ORr-JQJcw-eYtG2WGNiuS_qVKwdWd (github.com/Ahmednull/L2CS-Net)",
            url="https://huggingface.co/dorni/SpeakerVid-5M-data-curation-models/resolve/"
            "5c6e04d7fa3321e6228e79162f8ec98466bf308a/L2CSNet_gaze360.pkl",
            num_bytes=95_849_977,
            sha256="8a7f3480d868dd48261e1d59f915b0ef0bb33ea12ea00938fb2168f212080665",
        ),
        Weights(
            name="smirk",
            filename="SMIRK_em1.pt",
            used_by="aed apd, profile paper",
            licence="MIT (code); see the authors' terms for the model",
            source="drive.google.com/file/d/1T65uEd9dVLHgVw5KiUYL66NUee-MCzoE (github.com/georgeretsi/smirk)",
            url="https://drive.usercontent.google.com/download?id=1T65uEd9dVLHgVw5KiUYL66NUee-MCzoE"
            "&export=download&confirm=t",
            num_bytes=140_495_895,
            sha256="26b234e3cc31a5de226bcba4321bb5d7343a2ad48234c028b57a1c2f8c2d22d0",
            package="timm",
            extra="paper",
        ),
        Weights(
            name="alexnet",
            filename="alexnet-owt-7be5be79.pth",
            used_by="lpips",
            licence="BSD-3-Clause (torchvision); trained on ImageNet",
            source="github.com/pytorch/vision",
            url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            num_bytes=244_408_911,
            sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        ),
        Weights(
            name="dlib_identity",
            filename="dlib_face_recognition_resnet_model_v1.dat",
            used_by="csim",
            licence="CC0-1.0 (dlib's model, in the package face-recognition-models)",
            source="the package face-recognition-models: pip install 'exprbench[identity]'",
            num_bytes=22_466_066,
            sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            package="dlib",
            extra="identity",
            comes_with="face_recognition_models",
        ),
        Weights(
            name="arcface",
            filename="w600k_r50.onnx",
            used_by="csim_arcface",
            licence="non-commercial research only (InsightFace, trained on WebFace600K)",
            source="github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip (w600k_r50.onnx in it)",
            url="https://huggingface.co/public-data/insightface/resolve/main/models/buffalo_l/w600k_r50.onnx",
            package="onnxruntime",
            extra="identity",
            num_bytes=174_383_860,
            sha256="4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        ),
        Weights(
            name="videomae",
            filename="vit_g_hybrid_pt_1200e_ssv2_ft.pth",
            used_by="fvd_videomae",
            licence="Apache-2.0 (VideoMAE V2, tuned on Something-Something V2)",
            source="github.com/OpenGVLab/VideoMAEv2",
            url="https://huggingface.co/OpenGVLab/VideoMAE2/resolve/97d119d270aca7a1217fff7f413c0c543eb325d9/"
            "mae-g/vit_g_hybrid_pt_1200e_ssv2_ft.pth",
            num_bytes=2_023_804_201,
            sha256="5a210a92f035dff30c53b46157b612e7a1a5d3c99700e1b2d71da5c399ca7e70",
        ),
        Weights(
            name="yolov8n",
            filename="yolov8n.pt",
            used_by="multiexpr people",
            licence="AGPL-3.0",
            source="github.com/ultralytics/assets",
            url="https://github.com/ultralytics/assets/releases/download/v8.3.0/yolov8n.pt",
            num_bytes=6_549_796,
            sha256="f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
            exports=("yolov8n.engine", "yolov8n.onnx", "yolov8n_openvino_model", "yolov8n_int8_openvino_model"),
        ),
        Weights(
            name="laion_aesthetic",
            filename="sac+logos+ava1-l14-linearMSE.pth",
            used_by="multiexpr aesthetics",
            licence="Apache-2.0",
            source="github.com/christophschuhmann/improved-aesthetic-predictor",
            url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
            "sac%2Blogos%2Bava1-l14-linearMSE.pth",
            num_bytes=3_714_759,
            sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        ),
    )
}


def folders() -> list[Path]:
    """Return the folders in which files are located, in order; downloads go to the last one."""
    paths = os.environ.get("EXPRBENCH_WEIGHTS", "")
    return [*(Path(p) for p in paths.split(os.pathsep) if p), cache_root() / "weights"]


def get(name: str) -> Weights:
    """Return the model file of that name.

    Raises:
        UserError: there is no such model file; the message suggests the nearest name.
    """
    if name not in ALL:
        raise unknown_name("weights", name, sorted(ALL))
    return ALL[name]


def locate(name: str) -> Path | None:
    """Return the path of a model file, None if it is in none of the folders; its content is not checked."""
    weights = get(name)
    candidates = (folder / weights.filename for folder in [*folders(), *_package_folders(weights.comes_with)])
    return next((path for path in candidates if path.is_file()), None)


def _package_folders(package: str) -> list[Path]:
    """Return the folders `models` of an installed package, without importing it."""
    found = find_spec(package) if package else None
    return [Path(folder) / "models" for folder in found.submodule_search_locations or ()] if found else []


def locate_export(name: str) -> Path | None:
    """Return the path of an export of the network, None if there is none in the folders."""
    candidates = (folder / export for folder in folders() for export in get(name).exports)
    return next((path for path in candidates if path.exists()), None)


def require(name: str) -> Path:
    """Return the path of a model file, after checking its hash.

    Raises:
        WeightsError: the file is missing, or is not the published file.
    """
    weights, path = get(name), locate(name)
    if path is None:
        raise WeightsError("weights_missing", how_to_get(weights))
    if weights.sha256 and sha256_path(path) != weights.sha256:
        raise WeightsError("weights_differ", f"{path} is not the published file (sha256 {weights.sha256})")
    return path


def require_package(name: str) -> None:
    """Check that the package that reads a model file is installed.

    Raises:
        WeightsError: `package_missing`; the detail says how to install it.
    """
    weights = get(name)
    if weights.package and find_spec(weights.package) is None:
        detail = f"{weights.package} reads {weights.filename}; pip install 'exprbench[{weights.extra}]'"
        raise WeightsError("package_missing", detail)


def check_trusted(path: Path) -> None:
    """Check that a model file of a format that can hold code is a published one, or that the user trusts it.

    Raises:
        UserError: its hash is unknown, and `$EXPRBENCH_TRUST` is not 1.
    """
    if os.environ.get(TRUST) == "1":
        return
    sha256 = sha256_path(path)
    if sha256 not in {weights.sha256 for weights in ALL.values()}:
        raise UserError(
            f"{path} (sha256 {sha256[:16]}...) is not a published file, and a file of this kind can run code when it is"
            f" loaded; if you trust its origin, add --trust, or set {TRUST}=1"
        )


def how_to_get(weights: Weights) -> str:
    """Return one line of instructions for obtaining a model file."""
    get_it = f"exprbench weights fetch {weights.name}, or " if weights.url else ""
    sha = f" (sha256 {weights.sha256})" if weights.sha256 else ""
    return f"{get_it}put {weights.filename} from {weights.url or weights.source}{sha} into {folders()[0]}"


def brief_reason(reason: str) -> str:
    """Return a reason for a missing value in a short form, such as `run exprbench weights fetch i3d`."""
    code, _, detail = reason.partition(": ")
    return f"run {detail.partition(', or put ')[0]}" if code == "weights_missing" and ", or put " in detail else reason


def state(weights: Weights) -> str:
    """Return `missing`, `present` (there is no published hash), `verified` or `differs`."""
    path = locate(weights.name)
    if path is None:
        return "missing"
    if not weights.sha256:
        return "present"
    return "verified" if sha256_path(path) == weights.sha256 else "differs"


def fetch(name: str) -> Path:
    """Download a model file into the cache, verify it and return its path; a file that is valid already is kept.

    Raises:
        UserError: there is no direct download, it failed, or the file is not the published one.
    """
    weights = get(name)
    if state(weights) in ("present", "verified"):
        return require(name)
    if not weights.url:
        raise UserError(f"{weights.filename} has no direct download; {how_to_get(weights)}")
    target = folders()[-1] / weights.filename
    with atomic_path(target) as temporary:
        try:
            _download(weights, temporary)
        except OSError as error:
            raise UserError(f"the download failed ({error}); {how_to_get(weights)}") from error
        if sha256_path(temporary) != weights.sha256:
            raise UserError(
                f"the file from {weights.url} is not the published file (sha256 {weights.sha256}); not kept"
            )
    return target


def _download(weights: Weights, path: Path) -> None:
    from tqdm import tqdm

    request = urllib.request.Request(weights.url, headers={"User-Agent": "exprbench"})  # noqa: S310
    with (
        urllib.request.urlopen(request, timeout=CONNECT_S) as response,  # noqa: S310
        path.open("wb") as file,
        tqdm(total=weights.num_bytes, unit="B", unit_scale=True, desc=weights.filename, disable=None) as bar,
    ):
        for block in _blocks(response):
            file.write(block)
            bar.update(len(block))


def _blocks(response: object) -> Iterator[bytes]:
    while block := response.read(CHUNK):  # type: ignore[attr-defined]
        yield block
