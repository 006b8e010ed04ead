"""The sizes that images may have: one rule for prepare, predict and what is served."""

MIN_SIDE = 8
"""Pixels of the shorter side: less shows no lesion."""

MAX_SIDE = 32_768
"""Pixels of the longer side. It bounds the work of shrinking."""

MAX_ASPECT = 20
"""How much longer one side may be than the other. It bounds memory, in "crop" above all."""

MAX_PIXELS = 50_000_000
"""Height times width: images of 48-megapixel phones still pass."""

MAX_FILE_BYTES = 2**29
"""Bytes of one image's file: more than its most pixels need in any format."""


def refuse_size(width: int, height: int) -> str | None:
    """Why an image of that many pixels can't be used, and what to do; None where it can."""
    shorter, longer = sorted((width, height))
    size = f"has {width} x {height} pixels"
    if shorter < MIN_SIDE:
        return f"{size}, and {MIN_SIDE} are the smallest side; download it again"
    if longer > MAX_ASPECT * shorter:
        return f"{size}, and one side may be {MAX_ASPECT} times as long as the other; crop it"
    if longer > MAX_SIDE:
        return f"{size}, and {MAX_SIDE} are the longest side; shrink it"
    if width * height > MAX_PIXELS:
        return f"{size}, and {MAX_PIXELS // 1_000_000} million in all are the most; shrink it"
    return None
