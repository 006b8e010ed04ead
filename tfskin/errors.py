"""What goes wrong and can be mended by the user: one sentence, exit code 2."""

MOST_CHARACTERS = 900


def shorten(text: str, most: int = 100) -> str:
    """The text on one line, without its middle where it has more characters than ``most``.

    Other characters that would start a new line or move the cursor become spaces.
    """
    if len(text) > 4 * most:  # before anything else looks at it
        text = text[: 2 * most] + text[-2 * most :]
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 5]} ... {text[-tail:]}"


class UserError(Exception):
    """A fault that the user can mend.

    The message is one line that says which file, row or key, what is wrong, and what to do.
    Commands print it without a traceback (``--debug`` shows one) and exit with 2. A message longer
    than :data:`MOST_CHARACTERS` loses its middle: what to do stands at its end.
    """

    def __init__(self, message: str) -> None:
        is_long = len(message) > MOST_CHARACTERS
        super().__init__(shorten(message, MOST_CHARACTERS) if is_long else message)


class DivergenceError(UserError):
    """A training whose loss, weights or outputs became NaN or infinite."""


def nearest_hint(word: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of ``known``, or an empty string."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
