"""The verbs that print facts: `metrics`, `doctor` and `completion`."""

import argparse
import csv
import io
import json
from typing import Any

import exprbench
from exprbench.commands.completion import SHELLS, completion_script
from exprbench.commands.options import add_verb
from exprbench.core.cli_base import TOO_MANY_FAILED


def add_metrics(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `metrics`."""
    parser = add_verb(
        verbs,
        "metrics",
        "List every column: name, id, meaning, unit, model files and their licences.",
        "  exprbench metrics\n  exprbench metrics --profile paper --format json",
    )
    parser.add_argument("--profile", choices=("mediapipe", "paper"), help="columns of a profile (default: both)")
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="output format (default: table)"
    )
    parser.set_defaults(handler=_run_metrics)


def _run_metrics(args: argparse.Namespace) -> None:
    rows = metric_rows(args.profile)
    if args.format == "json":
        print(json.dumps(rows, indent=2))
    elif args.format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print(text.getvalue(), end="")
    else:
        print("\n".join(line for row in rows for line in _metric_lines(row)))


def metric_rows(profile: str | None = None) -> list[dict[str, Any]]:
    """Return a row per column and profile, of every column or of those of a profile."""
    from exprbench import weights
    from exprbench.metrics import COLUMNS

    rows = []
    for metric in COLUMNS.values():
        for of_profile, metric_id in metric.ids.items():
            if profile in (None, of_profile):
                files = metric.weights[of_profile]
                rows.append(
                    {
                        "name": metric.name,
                        "profile": of_profile,
                        "id": metric_id,
                        "meaning": metric.meaning,
                        "better": "higher" if metric.higher_is_better else "lower",
                        "unit": metric.unit,
                        "tracks": " ".join(metric.defined_on),
                        "asked_by_name": metric.is_extra and metric.on_request,
                        "weights": " ".join(files),
                        "licences": "; ".join(weights.get(name).licence for name in files),
                    }
                )
    return rows


def _metric_lines(row: dict[str, Any]) -> list[str]:
    unit = f" ({row['unit']})" if row["unit"] else ""
    files = f"; needs {row['weights']}: {row['licences']}" if row["weights"] else ""
    request = "; only if asked for by name" if row["asked_by_name"] else ""
    return [
        f"{row['name']:18} {row['id']}  [{row['profile']}]",
        f"{'':18} {row['meaning']}{unit}; {row['better']} is better; {row['tracks']}{files}{request}",
    ]


def add_doctor(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `doctor`."""
    parser = add_verb(
        verbs,
        "doctor",
        "Check the installation: libraries, model files, GPU, decoders, cache and disk.",
        "  exprbench doctor\n  exprbench doctor --format json",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="output format (default: table)")
    parser.set_defaults(handler=_run_doctor)


def _run_doctor(args: argparse.Namespace) -> int:
    checks = exprbench.doctor()
    if args.format == "json":
        print(json.dumps([vars(check) for check in checks], indent=2))
    else:
        print("\n".join(f"{check.state:8} {check.name:24} {check.detail}".rstrip() for check in checks))
    return TOO_MANY_FAILED if any(check.state == "error" for check in checks) else 0


def add_completion(verbs: argparse._SubParsersAction) -> None:
    """Add the verb `completion`."""
    parser = add_verb(
        verbs,
        "completion",
        "Print the completion script of a shell.",
        '  eval "$(exprbench completion bash)"       # in ~/.bashrc\n'
        '  eval "$(exprbench completion zsh)"        # in ~/.zshrc, after compinit\n'
        "  exprbench completion fish > ~/.config/fish/completions/exprbench.fish",
    )
    parser.add_argument("shell", choices=SHELLS, help="shell")
    parser.set_defaults(handler=lambda args: print(completion_script(args.shell, verbs), end=""))
