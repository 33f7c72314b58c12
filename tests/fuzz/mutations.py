"""Files made wrong in the ways that disks, programs and people make them: seeded, so that each can be made again."""

import re

import numpy as np

EXTREMES = [0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 3, 7, 12, 10**6]
WORDS = [
    b"", b"-1", b"0", b"1e999", b"-1e-999", b"NaN", b"nan", b"Infinity", b"null", b"true", b"[]", b"{}", b'""', b"1e20",
    b"9" * 400, b"0.5", b"1_0", b"\xff\xfe", b"\0", b"'", b'"', b"\\", b"\n", b",", b"..", b"/etc/passwd", b"[" * 3000,
]  # fmt: skip


def mutated(content: bytes, seed: int, places: list[int]) -> bytes:
    """One to three faults in a file.

    Args:
        content: of a whole file.
        seed: decides all.
        places: where the file says what it is made of: half of the faults are there.
    """
    generator = np.random.default_rng(seed)
    for _ in range(int(generator.integers(1, 4))):
        if content:
            faults = _OF_TEXT if content[:400].isascii() and b"\0" not in content[:400] else _FAULTS
            content = faults[int(generator.integers(len(faults)))](bytearray(content), generator, places)
    return content


def _place(content, generator, places):
    """A byte that matters, one of the head, or any."""
    kind = generator.random()
    if kind < 0.5 and places:
        return min(int(places[int(generator.integers(len(places)))]) + int(generator.integers(0, 12)), len(content) - 1)
    return int(generator.integers(0, min(len(content), 700) if kind < 0.75 else len(content)))


def _bytes(content, generator, places):
    for _ in range(int(generator.integers(1, 5))):
        content[_place(content, generator, places)] = int(generator.integers(0, 256))
    return bytes(content)


def _number(content, generator, places):
    at, size = _place(content, generator, places), int(generator.choice([2, 4, 8]))
    value = int(EXTREMES[int(generator.integers(len(EXTREMES)))]) % 2 ** (8 * size)
    content[at : at + size] = value.to_bytes(size, str(generator.choice(["little", "big"])))
    return bytes(content)


def _cut(content, generator, places):
    return bytes(content[: _place(content, generator, places)])


def _zeros(content, generator, places):
    at, size = _place(content, generator, places), int(generator.integers(1, max(2, len(content) // 4)))
    content[at : at + size] = bytes(len(content[at : at + size]))
    return bytes(content)


def _copied(content, generator, places):
    start, at = _place(content, generator, places), _place(content, generator, places)
    size = int(generator.integers(1, 64))
    content[at : at + size] = content[start : start + size]
    return bytes(content)


def _shifted(content, generator, places):
    at, size = _place(content, generator, places), int(generator.integers(1, 9))
    if generator.random() < 0.5:
        del content[at : at + size]
    else:
        content[at:at] = generator.integers(0, 256, size, dtype=np.uint8).tobytes()
    return bytes(content)


def _word(content, generator, places):
    """A number or word of a text is another; in a file that is no text, one of its words all the same."""
    del places
    found = list(re.finditer(rb"[-+.\w]+", bytes(content[:20_000])))
    if not found:
        return bytes(content)
    at = found[int(generator.integers(len(found)))]
    content[at.start() : at.end()] = WORDS[int(generator.integers(len(WORDS)))]
    return bytes(content)


def _line(content, generator, places):
    """A line twice, gone, or cut in half."""
    del places
    lines = bytes(content).split(b"\n")
    at = int(generator.integers(len(lines)))
    lines[at : at + 1] = [[lines[at]] * 2, [], [lines[at][: len(lines[at]) // 2]]][int(generator.integers(3))]
    return b"\n".join(lines)


_FAULTS = (_bytes, _number, _number, _cut, _zeros, _copied, _shifted, _word, _line)
_OF_TEXT = (_word, _word, _word, _word, _line, _line, _bytes, _cut)
