"""Members whose truth is known."""

import numpy as np
from scipy.special import softmax

METHODS = ("mean_probabilities", "mean_logits", "weights", "stacking")


def simulate(*, images=400, classes=3, noise=(0.5, 1.5, 3.0), scale=1.0, seed=0):
    """Members that see the true logits through noise, and labels drawn from those logits."""
    random = np.random.default_rng(seed)
    truth = 2 * random.normal(size=(images, classes))
    labels = np.array([random.choice(classes, p=p) for p in softmax(truth, axis=1)])
    members = [truth + n * random.normal(size=truth.shape) for n in noise]
    return softmax(scale * np.array(members), axis=2), labels
