"""What follows from probabilities, in a graph, as ``decide`` of ``evaluation`` has it in NumPy."""

import tensorflow as tf

from tfskin.evaluation.decision import SET_SLACK, Decision


def decide_in_graph(
    probabilities: tf.Tensor, decision: Decision, *, top: int
) -> dict[str, tf.Tensor]:
    """What a server adds to float32 ``probabilities`` (N, C), by name of the output.

    ``malignancy``, ``is_malignant`` and ``prediction_set`` are those of
    :class:`tfskin.evaluation.decision.Answer`. See :func:`tfskin.serving.graph.make_signatures`
    for all outputs.
    """
    count = tf.shape(probabilities)[0]
    names = tf.constant(list(decision.class_names))
    values, places = tf.math.top_k(probabilities, min(top, len(decision.class_names)))
    logs = tf.math.log(tf.maximum(probabilities, 1e-12))
    outputs = {
        "top_probabilities": values,
        "top_indices": places,
        "top_names": tf.gather(names, places),
        "entropy": -tf.reduce_sum(probabilities * logs, axis=1),
    }
    if decision.malignant:
        is_malignant = [float(name in decision.malignant) for name in decision.class_names]
        score = tf.reduce_sum(probabilities * tf.constant(is_malignant), axis=1)
        outputs["malignancy"] = score
        if decision.thresholds:
            points = tf.constant([list(decision.levels)])
            levels = tf.constant(list(decision.levels.values()), tf.float32)
            outputs["operating_points"] = tf.tile(points, [count, 1])
            outputs["is_malignant"] = score[:, tf.newaxis] >= levels
    if decision.conformal is not None:
        limits = [quantile + SET_SLACK for quantile in decision.quantiles]
        outputs["prediction_set"] = 1 - probabilities <= tf.constant(limits, tf.float32)
    return outputs
