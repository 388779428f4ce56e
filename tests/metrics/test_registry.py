import re
import subprocess
import sys

import pytest

from exprbench import weights
from exprbench.metrics import EXTRAS, METRICS, PROFILES, metric_ids, parent_metric

# As the design has them; a change here is a change of every published number's name.
IDS = {
    "fid": ("fid[inception2015,clean299,pool3]",) * 2,
    "fvd": ("fvd[i3d-k400,16f,hop16,squash224]",) * 2,
    "psnr": ("psnr[rgb,frame-mean,cap100]",) * 2,
    "ssim": ("ssim[rgb,gauss11,valid]",) * 2,
    "lmd": ("lmd[mp478,unit,center]",) * 2,
    "mae": ("mae[mp-iris]", "mae[l2cs-gaze360]"),
    "aed": ("aed[mp-bs52,l1-mean]", "aed[smirk,exp50,l1-mean]"),
    "apd": ("apd[mp-rot,axis-angle,l1-mean]", "apd[smirk,axis-angle,l1-mean]"),
}


def test_the_ids_are_those_of_the_design():
    assert {name: tuple(METRICS[name].ids[p] for p in PROFILES) for name in IDS} == IDS


def test_the_columns_stand_in_the_order_of_the_papers_table():
    self_columns = [m.title for m in METRICS.values() if "self" in m.tracks]
    assert self_columns == ["FID", "FVD", "PSNR", "SSIM", "LMD", "MAE"]
    assert {m.title for m in METRICS.values() if "cross" in m.tracks} == {"AED", "APD", "MAE"}


@pytest.mark.parametrize("profile", PROFILES)
def test_no_two_columns_share_an_id(profile):
    ids = list(metric_ids(profile).values())
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9_]+\[[a-z0-9+/,.()-]+\]", i) for i in ids)


def test_an_id_leads_to_its_metric():
    for name, extra in EXTRAS.items():
        assert extra.name == name
        for metric_id in extra.ids.values():
            assert parent_metric(metric_id) is METRICS[extra.parent]
    assert parent_metric("fid[demo-net64]") is METRICS["fid"]


def test_names_of_metrics_and_extras_do_not_clash():
    assert not METRICS.keys() & EXTRAS.keys()


def test_the_weights_are_known():
    named = {w for m in (*METRICS.values(), *EXTRAS.values()) for names in m.weights.values() for w in names}
    assert named <= set(weights.ALL)


def test_the_scales_are_those_the_paper_prints():
    assert {n: m.table_scale for n, m in METRICS.items() if m.table_scale != 1} == {"lmd": 1e3, "aed": 1e2, "apd": 1e3}
    assert [n for n, m in METRICS.items() if m.higher_is_better] == ["psnr", "ssim"]
    assert EXTRAS["psnr_pooled"].higher_is_better


def test_the_registry_loads_nothing_heavy():
    code = "import sys, exprbench.metrics; print(*(m for m in ('torch', 'cv2', 'numpy', 'scipy') if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == []
