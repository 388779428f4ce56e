"""List the methods: licence, status, environment, weights, several faces."""

from typing import Any

from baselines.method_environment import find_environment, is_installed
from baselines.spec import Method, load_methods
from baselines.trial import load_trial

PLACEHOLDER_MARK = "{"


def describe_methods() -> list[dict[str, Any]]:
    """Return a JSON value per method, by id."""
    return [describe(method) for method in load_methods()]


def describe(method: Method) -> dict[str, Any]:
    """Return a method as a JSON value; `weights` counts those that are in its repository."""
    trial = load_trial(method)
    weights = {weight.path: has_weight(method, weight.path) for weight in method.weights}
    return {
        "id": method.id,
        "name": method.name,
        "repo": method.repo,
        "commit": method.commit,
        "licence": method.licence,
        "multi": method.multi,
        "installed": is_installed(method),
        "has_lock": method.lock_path.is_file() or not method.repo,
        "weights": weights,
        "min_vram_gb": method.min_vram_gb or None,
        "status": {**method.status, **({"this machine": trial.status} if trial else {})},
        "paper_results": method.paper_results,
        "folder": str(method.folder),
    }


def has_weight(method: Method, path: str) -> bool | None:
    """Return whether a model file is in the method's repository; None if its path depends on an option."""
    if PLACEHOLDER_MARK in path:
        return None
    repo = find_environment(method).repo
    return repo is not None and (repo / path).exists()


def format_methods(methods: list[dict[str, Any]]) -> str:
    """Return descriptions of methods as a table of text."""
    rows = [("id", "name", "environment", "weights", "several faces", "status", "licence")]
    for method in methods:
        known = [found for found in method["weights"].values() if found is not None]
        weights = f"{sum(known)} of {len(known)}" if known else "-"
        status = "; ".join(f"{benchmark}: {text}" for benchmark, text in method["status"].items()) or "-"
        environment = "installed" if method["installed"] else "not installed"
        rows.append((method["id"], method["name"], environment, weights, method["multi"], status, method["licence"]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
