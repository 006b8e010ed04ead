"""What goes wrong and can be mended by the user: one sentence, exit code 2."""


class UserError(Exception):
    """A fault that the user can mend.

    The message is one line that says which file, row or key, what is wrong, and what to do.
    Commands print it without a traceback (``--debug`` shows one) and exit with 2.
    """


class DivergenceError(UserError):
    """A training whose loss, weights or outputs became NaN or infinite."""


def nearest_hint(word: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of ``known``, or an empty string."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
