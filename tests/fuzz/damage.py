"""Ways to damage a file: each takes its bytes and a `random.Random`, and gives other bytes."""

import re
import struct

# What an MP4, MKV or AVI file says of its frames: sizes, times, places, the decoder's own header.
TABLES = re.compile(
    rb"moov|mvhd|tkhd|mdhd|hdlr|stsd|avc1|avcC|hev1|hvcC|stts|ctts|stss|stsc|stsz|stco|co64|elst|edts"
    rb"|avih|strh|strf|idx1|movi|LIST|\x1a\x45\xdf\xa3|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|IHDR|IDAT"
)
PACKETS = re.compile(rb"mdat|\x1f\x43\xb6\x75|movi|IDAT")
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
STUMBLING_BLOCKS = (
    *(b'"', b",", b"\n", b"\r", b"\t", b"\0", b"\xff", b"\\ud800", b"../", b"/", b"\xff\xfe", b"NaN", b"null,"),
    *(b"[" * 100_000, b"9" * 5000, b"x" * 200_000, b"a.mp4"),
)
HEADER_BYTES = 512


def flipped(data, rng, low=0, high=None):
    """Up to 64 bits between two places."""
    high = len(data) if high is None else min(high, len(data))
    for _ in range(1 << rng.randrange(7)):
        data[rng.randrange(low, high)] ^= 1 << rng.randrange(8)
    return data


def header(data, rng):
    """Bits of the first bytes."""
    return flipped(data, rng, 0, HEADER_BYTES)


def table(data, rng):
    """A number near the name of a table becomes one that nobody expects."""
    found = [match.end() for match in TABLES.finditer(data)]
    for _ in range(1 + rng.randrange(3)):
        at = rng.choice(found) + rng.choice((-8, 0, 4, 8, 12, 16, 20, 24, rng.randrange(64))) if found else 0
        at = max(0, min(at, len(data) - 4))
        value = rng.choice((*EXTREMES, rng.getrandbits(32)))
        data[at : at + 4] = struct.pack(rng.choice("<>") + "I", value)
    return data


def packets(data, rng):
    """Bits of what is to be decoded."""
    match = PACKETS.search(data)
    return flipped(data, rng, min(match.end(), len(data) - 1) if match else len(data) // 2)


def cut(data, rng):
    """The file ends early."""
    return data[: rng.randrange(len(data))]


def without_a_span(data, rng):
    """Bytes are gone, and what follows has moved."""
    low, high = _span(data, rng)
    return data[:low] + data[high:]


def doubled_span(data, rng):
    """Bytes come twice."""
    low, high = _span(data, rng)
    return data[:high] + data[low:]


def wiped_span(data, rng):
    """Bytes are zero, as where a download left a hole."""
    low, high = _span(data, rng)
    data[low:high] = bytes(high - low)
    return data


def noise_span(data, rng):
    """Bytes are anything."""
    low, high = _span(data, rng)
    data[low:high] = rng.randbytes(high - low)
    return data


def swapped_spans(data, rng):
    """Two stretches have changed places."""
    a, b, c = sorted(rng.randrange(len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def inserted(data, rng):
    """Insert what tables and JSON trip over: quotes, commas, deep brackets, long numbers, half characters."""
    at = rng.randrange(len(data))
    return data[:at] + rng.choice(STUMBLING_BLOCKS) + data[at:]


def _span(data, rng):
    low = rng.randrange(len(data))
    return low, min(len(data), low + 1 + rng.randrange(1 << rng.randrange(4, 15)))


DAMAGES = (
    flipped,
    header,
    table,
    table,
    packets,
    packets,
    cut,
    without_a_span,
    doubled_span,
    wiped_span,
    noise_span,
    swapped_spans,
    inserted,
)


def damaged(data, rng):
    """One to three of these; the bytes and what was done."""
    data, done = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            damage = rng.choice(DAMAGES)
            data = bytearray(damage(data, rng))
            done.append(damage.__name__)
    return bytes(data), done
