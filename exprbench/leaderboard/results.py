"""The pages under `results/`, rebuilt from what is stored there: `python -m exprbench.leaderboard.results results`.

results/records/*.json    measured: score records
results/paper/*.csv       reported: the paper's tables, every number as printed
"""

import csv
import io
import sys
from pathlib import Path

from exprbench.core.errors import UserError
from exprbench.core.files import write_text
from exprbench.leaderboard.rendering import md_lines, to_latex, to_markdown
from exprbench.leaderboard.rows import Table, make_table
from exprbench.records import ScoreRecord, load_record

PAPER_TABLES = {
    "table1": "Table 1, quantitative results (LMD in 1e-3, AED in 1e-2, APD in 1e-3)",
    "table2": "Table 2, user study (0 to 10; higher is better)",
    "table3": "Table 3, ablation in cross reenactment",
}
HIGHER = {"PSNR", "SSIM", "VQ", "ES", "MN", "ER"}
HEAD = """\
# Leaderboard

Made by `make tables` from what lies in this folder; do not edit. Every measured number, those of the further columns
too, is in `leaderboard.csv` with its interval.

## Measured"""
REPORTED = (
    "*Reported, protocol unknown*: printed in the FantasyPortrait paper, which leaves the pairing, the networks and"
    " most settings open. These numbers cannot be compared with measured ones."
)


def pages(results: Path) -> dict[str, str]:
    """File name -> content of every page, a pure function of the stored records and tables."""
    records = _by_benchmark(results / "records")
    tables = {title: make_table(group) for title, group in records.items()}
    reported = {name: _read(results / "paper" / f"{name}.csv") for name in PAPER_TABLES}
    sections = [f"### {title}\n\n{to_markdown(made)}" for title, made in tables.items()]
    sections += ["## Reported", REPORTED]
    sections += [f"### {PAPER_TABLES[name]}\n\n{_markdown(rows)}" for name, rows in reported.items()]
    return {
        "LEADERBOARD.md": "\n\n".join(s.rstrip("\n") for s in [HEAD, *sections]) + "\n",
        "leaderboard.tex": "\n".join(f"% {title}\n{to_latex(made)}" for title, made in tables.items()),
        "leaderboard.csv": _long_csv({title: make_table(group, extras=True) for title, group in records.items()}),
    }


def _by_benchmark(folder: Path) -> dict[str, list[ScoreRecord]]:
    """The records that go into one table: a benchmark's, methods in the order of their files' names."""
    groups: dict[str, list[ScoreRecord]] = {}
    for record in [load_record(path) for path in sorted(folder.glob("*.json"))]:
        groups.setdefault(f"{record.benchmark.name}, profile {record.profile}", []).append(record)
    return dict(sorted(groups.items()))


def _long_csv(tables: dict[str, Table]) -> str:
    """One line a number, the extra columns' too: the tables' columns differ, these do not."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["benchmark", "dataset", "method", "track", "metric", "printed", "value", "low", "high", "num_videos"]
    )
    for title, made in tables.items():
        for row in made.rows:
            for column in made.columns:
                cell = row.cells[column.key]
                if cell.aggregate:
                    a = cell.aggregate
                    place = [title, row.dataset, row.method, column.track, column.metric.name]
                    writer.writerow([*place, cell.text, a.value, a.low, a.high, a.num_videos])
    return text.getvalue()


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _markdown(rows: list[dict[str, str]]) -> str:
    columns = [c for c in rows[0] if c not in ("dataset", "method")]
    head = ["Dataset", "Method", *(_title(c) for c in columns)]
    return "\n".join(
        md_lines([head, *([r["dataset"], r["method"], *(_bold(rows, r, c) for c in columns)] for r in rows)])
    )


def _title(column: str) -> str:
    track, _, name = column.rpartition("_")
    arrow = "\u2191" if name in HIGHER else "\u2193"
    return f"{track.capitalize()} {name} {arrow}".strip()


def _bold(rows: list[dict[str, str]], row: dict[str, str], column: str) -> str:
    sign = 1 if column.rpartition("_")[2] in HIGHER else -1
    peers = [sign * float(r[column]) for r in rows if r["dataset"] == row["dataset"]]
    return f"**{row[column]}**" if sign * float(row[column]) == max(peers) else row[column]


def main() -> int:
    """Write the pages of the folder named on the command line."""
    try:
        folder = Path(sys.argv[1])
        for name, text in pages(folder).items():
            write_text(folder / name, text)
            print(folder / name)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
