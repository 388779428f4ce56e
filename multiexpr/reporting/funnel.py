"""Format the funnel as text."""

from typing import Any


def funnel_lines(funnel: dict[str, Any]) -> list[str]:
    """Return the funnel as lines: all clips, clips dropped by each rule, errors by code, pending and kept clips."""
    total = funnel["clips"]
    lines = [_line("clips", total, total)]
    lines += [_line(f"  dropped: {s['reason']}", s["dropped"], total) for s in funnel["steps"] if s["dropped"]]
    lines += [_line(f"  error: {code}", count, total) for code, count in funnel["errors"].items()]
    if funnel["pending"]:
        lines.append(_line("  not scored yet", funnel["pending"], total))
    return [*lines, _line("kept", funnel["kept"], total)]


def _line(name: str, count: int, total: int) -> str:
    share = f"{100 * count / total:6.2f} %" if total else ""
    return f"{name:28}{count:>12,}  {share}".rstrip()
