"""How often each training image is shown in an epoch, where classes are of unequal size."""

from __future__ import annotations

import numpy as np

from tfskin.schema import Sampling


def class_quotas(labels: np.ndarray, sampling: Sampling) -> dict[int, int]:
    """Class -> how many images of it an epoch shows.

    With ``n_c`` images of class ``c``, ``N`` in all, of ``C`` classes that have any:

    - ``none``: ``n_c``. An epoch has ``N`` images.
    - ``undersample``: the smallest ``n_c``, for every class. An epoch has ``C min n_c`` images.
    - ``oversample``: the largest ``n_c``, for every class. An epoch has ``C max n_c`` images.
    - ``class_balanced``: ``N / C`` for every class, the first ``N mod C`` classes one more. An
      epoch has ``N`` images, as without sampling: frequent classes are thinned, rare ones
      repeated. This is the class-balanced sampling of Kang et al. (arXiv:1910.09217, section
      4.1, q = 0) with exact shares in place of independent draws.

    The quotas are the same in every epoch, so epochs have equal lengths.

    Args:
        labels: int (N,), the class of each image; -1 for one that is left out.
        sampling: see above.
    """
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if sampling == "undersample":
        wanted = np.full(len(classes), sizes.min(initial=np.iinfo(np.int64).max))
    elif sampling == "oversample":
        wanted = np.full(len(classes), sizes.max(initial=0))
    elif sampling == "class_balanced":
        share, rest = divmod(int(sizes.sum()), max(len(classes), 1))
        wanted = share + (np.arange(len(classes)) < rest)
    else:
        wanted = sizes
    return {int(name): int(quota) for name, quota in zip(classes, wanted, strict=True)}


def sample_counts(labels: np.ndarray, sampling: Sampling, *, seed: int, epoch: int) -> np.ndarray:
    """How often each image is shown in an epoch: int64 (N,), a pure function of the arguments.

    A class with ``n`` images and the quota ``q`` of :func:`class_quotas` shows each of its
    images ``q // n`` times, and ``r = q mod n`` of them once more. Which ones: epochs come in
    rounds of ``n // r``; a round shuffles the images anew, by (seed, class, round), and its
    epochs take the next ``r`` each. So the counts of a class differ by one at most within a
    round: under-sampling shows nearly every image of a frequent class before it repeats one.

    Args:
        labels: int (N,), the class of each image; -1 for one that is never shown.
        sampling: see :func:`class_quotas`.
        seed: of the choice.
        epoch: 0, 1, ...
    """
    counts = np.zeros(len(labels), np.int64)
    for name, quota in class_quotas(labels, sampling).items():
        places = np.flatnonzero(labels == name)
        every, rest = divmod(quota, len(places))
        counts[places] = every
        if rest:
            turn, part = divmod(epoch, len(places) // rest)
            order = np.random.default_rng([seed, name, turn]).permutation(places)
            counts[order[part * rest : (part + 1) * rest]] += 1
    return counts
