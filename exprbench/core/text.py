"""Text from files of unknown origin: encodings, and characters that cannot be written."""

import codecs

BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def printable(text: str) -> str:
    r"""Return a file name or message with `\udcff` for each byte that is not UTF-8, so that it can be written."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def replace_surrogates(text: str) -> str:
    """Return text with a replacement character for each lone surrogate; pairs of surrogates become one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def guess_encoding(head: bytes, *, is_whole: bool = True) -> str:
    """Return the encoding of a text from its first bytes: UTF-8, UTF-16, or Windows-1252 for all others.

    Args:
        head: bytes of the text.
        is_whole: whether these are all bytes; otherwise the last character can be cut.
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = head[start::2]
        if half and half.count(0) > len(half) // 2:
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"
