"""Compare methods by statistical models: mixed effects for ratings, Bradley-Terry for pairs."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from exprbench.core.errors import UserError

if TYPE_CHECKING:
    import pandas

LEVEL = 0.95
NUM_RESAMPLES = 400
REGULARISATION = 0.01  # without it, a method that wins or loses every pair has no finite strength


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Difference between a method and the reference method, the one with the highest mean.

    Attributes:
        p_adjusted: p-value with Holm's correction for the number of methods.
        converged: whether the fit of the model converged.
    """

    method: str
    reference: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    converged: bool


def _study_library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(f"{name} is not installed; install it with: pip install 'exprbench[study]'") from error


def compare_methods(ratings: "pandas.DataFrame") -> list[Contrast] | str:
    """Return the contrast of every method with the best one, or the reason why there is none.

    Fits score ~ method + (1 | rater) + (1 | case) + (1 | case x method). Without the last term, standard errors are too
    small, because the methods' ranking differs between cases. Intervals and p-values use Student's t with
    min(raters, cases) - 1 degrees of freedom, which is conservative.

    Args:
        ratings: columns rater, case, method and score.

    Raises:
        UserError: statsmodels is not installed.
    """
    sizes = ratings[["rater", "case", "method"]].nunique()
    if (sizes < 2).any():
        return f"needs two or more raters, cases and methods (here {', '.join(f'{v} {k}s' for k, v in sizes.items())})"
    if ratings["score"].nunique() < 2:
        return "all scores are equal"
    means = ratings.groupby("method", sort=True)["score"].mean()
    reference = str(means.idxmax())
    others = [str(name) for name in means.index if name != reference]
    codes = {method: i for i, method in enumerate([reference, *others])}
    try:
        fit = _fit(ratings.assign(code=ratings["method"].map(codes), one=1))
    except np.linalg.LinAlgError as error:
        return f"the model cannot be fitted ({error})"
    degrees = int(min(sizes["rater"], sizes["case"])) - 1
    return _contrasts(fit, reference, others, degrees)


def _fit(data: "pandas.DataFrame") -> Any:
    formula = _study_library("statsmodels.formula.api")
    components = {"rater": "0+C(rater)", "case": "0+C(case)", "case_method": "0+C(case):C(code)"}
    model = formula.mixedlm("score ~ C(code)", data, groups="one", re_formula="0", vc_formula=components)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a component at zero; `converged` carries the rest
        # The default (BFGS) stops early where a component is near zero, with a lower likelihood and wrong errors.
        return model.fit(method="powell")


def _contrasts(fit: Any, reference: str, others: Sequence[str], degrees: int) -> list[Contrast]:
    from scipy.stats import t

    names = [f"C(code)[T.{i}]" for i in range(1, len(others) + 1)]
    differences, errors = fit.fe_params[names].to_numpy(), fit.bse_fe[names].to_numpy()
    p = 2 * t.sf(np.abs(differences / errors), degrees)
    width = t.ppf((1 + LEVEL) / 2, degrees) * errors
    return [
        Contrast(
            method=method,
            reference=reference,
            difference=float(differences[i]),
            low=float(differences[i] - width[i]),
            high=float(differences[i] + width[i]),
            p=float(p[i]),
            p_adjusted=float(holm(p)[i]),
            converged=bool(fit.converged),
        )
        for i, method in enumerate(others)
    ]


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values with Holm's correction for multiple comparisons."""
    order = np.argsort(p)
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(scaled, 1)
    return adjusted


def bradley_terry(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return the strengths (log-odds, mean 0) of M methods and the bounds of their 95 % intervals, each (M,).

    P(i wins against j) = 1 / (1 + exp(strength_j - strength_i)). Intervals are percentiles over resampled raters. There
    are none for a single rater, or if some methods never lost against the others: the strengths are then finite only
    because of the regularisation.

    Args:
        wins: (R, M, M) counts of R raters: how often the first method won against the second.

    Raises:
        UserError: choix is not installed.
    """
    strengths = _strengths(wins.sum(axis=0))
    if len(wins) < 2 or not is_connected(wins.sum(axis=0)):
        return strengths, None, None
    drawn = np.random.default_rng(0).integers(0, len(wins), (NUM_RESAMPLES, len(wins)))
    resampled = np.array([_strengths(wins[raters].sum(axis=0)) for raters in drawn])
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail], axis=0)
    return strengths, low, high


def is_connected(counts: np.ndarray) -> bool:
    """Return whether, however the methods are split in two, each half won against the other (Ford, 1957)."""
    from scipy.sparse.csgraph import connected_components

    return connected_components(counts > 0, directed=True, connection="strong")[0] == 1


def _strengths(counts: np.ndarray) -> np.ndarray:
    strengths = _study_library("choix").ilsr_pairwise_dense(counts.astype(float), alpha=REGULARISATION)
    return strengths - strengths.mean()
