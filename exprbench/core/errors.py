"""The two kinds of failure that are not bugs."""

from difflib import get_close_matches


class UserError(Exception):
    """A mistake the user can mend: one line saying what, where and how. Commands print it and exit with status 2."""


class ItemError(Exception):
    """One item (a clip, a case) failed for a named reason; the run goes on without it.

    `code` is a short stable word for counting, `detail` a sentence for people.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


def unknown_name(kind: str, given: str, known: list[str]) -> UserError:
    """An error that names the nearest known word, or all of them."""
    near = get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return UserError(f"unknown {kind} {given!r}; {hint}")
