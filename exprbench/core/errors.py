"""The two kinds of errors that are not bugs."""

from difflib import get_close_matches

from exprbench.core.text import printable


class UserError(Exception):
    """An error that the user can fix: one line with fact and remedy. Commands print it and exit with status 2."""


class ItemError(Exception):
    """The failure of one item (a clip, a case); the run continues without it.

    `code` is a short stable identifier for counting, `detail` a sentence for people.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        detail = printable(detail).replace("\n", "\\n")  # it is written to records, and can contain a file's name
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


def unknown_name(kind: str, name: str, known: list[str]) -> UserError:
    """Return an error that suggests the nearest known name, or lists all of them."""
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return UserError(f"unknown {kind} {name!r}; {hint}")
