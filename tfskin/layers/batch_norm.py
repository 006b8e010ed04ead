"""Batch normalisation whose behaviour in training is one of three explicit modes."""

from typing import Any, Literal, get_args

import keras

from tfskin.layers.parts import Part, part_of

BatchNormMode = Literal["update", "affine", "frozen"]


@keras.saving.register_keras_serializable(package="tfskin")
class BatchNorm(keras.layers.BatchNormalization):
    """The input normalised per channel, with the training behaviour that ``mode`` says.

    ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, computed in float32 and returned in
    the compute dtype, shape unchanged. Outside training every mode uses the moving statistics;
    within it

    ========  ====================  ==========================  ===============
    mode      mean and variance     moving statistics           gamma and beta
    ========  ====================  ==========================  ===============
    update    of the batch          move towards the batch's    train
    affine    the moving ones       stand still                 train
    frozen    the moving ones       stand still                 stand still
    ========  ====================  ==========================  ===============

    Keras has no such switch: ``training=False`` given while a functional model is built is
    overridden by ``fit``, and ``trainable = False`` freezes gamma and beta too.

    ``trainable`` can only take away: where it is false, nothing moves in any mode; where it is
    true, the mode decides. So ``model.trainable = True`` leaves a frozen layer frozen.

    Change the mode of a model with :func:`set_batch_norm_mode`, which also makes a compiled model
    trace its training step again.

    Args:
        mode: what training changes.
        **kwargs: arguments of ``keras.layers.BatchNormalization``.

    Raises:
        ValueError: an unknown mode.

    Reference: Ioffe and Szegedy, "Batch Normalization", 2015, arXiv:1502.03167, algorithms 1 and 2.
    Deviation: the moving variance follows the biased variance of the batch, as in Keras.
    """

    def __init__(self, *, mode: BatchNormMode = "update", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._mode = _checked(mode)

    @property
    def mode(self) -> BatchNormMode:
        """What training changes."""
        return self._mode

    @mode.setter
    def mode(self, mode: BatchNormMode) -> None:
        self._mode = _checked(mode)
        self._mark_weights()

    @property
    def trainable(self) -> bool:
        """Whether the layer may train; the mode decides what of it does."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        self._mark_weights()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create gamma, beta and the moving statistics."""
        super().build(input_shape)
        self._mark_weights()

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """``inputs`` normalised."""
        return super().call(inputs, training=bool(training) and self._mode == "update", mask=mask)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again.

        ``synchronized`` is not one of them: it belongs to the replicas that train the layer, and
        other backends than TensorFlow refuse it.
        """
        return {**super().get_config(), "synchronized": False, "mode": self._mode}

    def _mark_weights(self) -> None:
        for weight in (self.gamma, self.beta):
            if weight is not None:
                weight.trainable = self._trainable and self._mode != "frozen"


def set_batch_norm_mode(
    model: keras.Model, mode: BatchNormMode, *, part: Part | None = None
) -> None:
    """Set the mode of every :class:`BatchNorm` in ``model``, nested models included.

    ``part`` is ``backbone`` or ``head`` (see :mod:`tfskin.layers.parts`); both unless given.

    Pass the model that is fitted, not one nested in it: only the model that was compiled can
    drop its traced training step. A model without batch normalisation is left as it is.

    On a compiled model the traced training step is dropped, so that the next ``fit`` traces one
    with the new mode, and nothing is compiled anew: loss, metrics and optimizer stay. When the
    new mode changes *which* weights train, and the optimizer has been built already, its
    slots no longer match the weights. Then the same optimizer object is built anew for the new
    list and every variable of the same name keeps its value: iterations, loss scale, learning
    rate and the slots of all weights that train before and after. Slots of newly trained weights
    start at zero; those of frozen weights are dropped. Under ``tf.distribute``, call this within
    the strategy's scope.

    Raises:
        ValueError: an unknown mode; a plain ``keras.layers.BatchNormalization`` in the model;
            optimizer variables that cannot be told apart.
    """
    _checked(mode)
    layers = _batch_norms(model)
    plain = [layer.name for layer in layers if not isinstance(layer, BatchNorm)]
    if plain:
        raise ValueError(
            f"model '{model.name}' holds {len(plain)} plain BatchNormalization layer(s), such as "
            f"'{plain[0]}', whose mode cannot be set: use replace_batch_norm(model, mode)"
        )
    parts = part_of(model) if part else {}
    for layer in layers:
        if part is None or parts[id(layer)] == part:
            layer.mode = mode
    if layers and model.compiled:
        _match_optimizer(model)
        model.train_function = None


def replace_batch_norm(
    model: keras.Model,
    mode: BatchNormMode,
    *,
    names: dict[str, str] | None = None,
    **changes: Any,
) -> keras.Model:
    """A copy of ``model`` in which each BatchNormalization is a :class:`BatchNorm`.

    All weights are copied, so the outputs are equal bit for bit; names are kept. The copy is
    not compiled unless ``model`` was, and then with a fresh optimizer.

    Args:
        model: a functional or sequential model (nested ones too), such as ``keras.applications``
            returns.
        mode: the mode of every layer.
        names: a layer's name -> its name in the copy, for those that shall have another.
        **changes: other arguments of every BatchNorm, such as ``momentum``.

    Raises:
        ValueError: an unknown mode; a subclassed model, or a composite layer that holds a plain
            BatchNormalization (neither can be taken apart).
    """
    _checked(mode)

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = {**layer.get_config(), "name": (names or {}).get(layer.name, layer.name)}
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNorm.from_config({**config, **changes, "mode": mode})
        return layer.__class__.from_config(config)

    # Without inputs of ours, Keras would give the copy's input layers new names.
    inputs = None if isinstance(model, keras.Sequential) else _copy_inputs(model)
    copy = keras.models.clone_model(model, inputs, clone_function=copy_layer, recursive=True)
    plain = [layer.name for layer in _batch_norms(copy) if not isinstance(layer, BatchNorm)]
    if plain:
        raise ValueError(
            f"model '{model.name}': BatchNormalization '{plain[0]}' is inside a composite layer "
            "and cannot be replaced"
        )
    copy.set_weights(model.get_weights())
    return copy


def _checked(mode: BatchNormMode) -> BatchNormMode:
    if mode not in get_args(BatchNormMode):
        raise ValueError(f"mode must be one of {', '.join(get_args(BatchNormMode))}, got {mode!r}")
    return mode


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    # `model.layers` shows nested models but not the layers inside a composite layer.
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


def _copy_inputs(model: keras.Model) -> Any:
    """New inputs in the structure of the model's own, with their names."""

    def copy_input(tensor: Any) -> Any:
        name = tensor._keras_history.operation.name
        return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)

    return keras.tree.map_structure(copy_input, model.input)


def _match_optimizer(model: keras.Model) -> None:
    """Make the slots of a built optimizer match the trainable weights of ``model``, state kept."""
    optimizer = model.optimizer
    if optimizer is None or not optimizer.built:
        return
    known = [id(weight) for weight in optimizer._trainable_variables]
    if known == [id(weight) for weight in model.trainable_variables]:
        return
    # On every backend and in both directions: TensorFlow would bear a longer list of slots, but
    # JAX does not, and a saved model could not read its optimizer back.
    rebuilt = _remake(optimizer)
    rebuilt.build(model.trainable_variables)
    if not _copy_state(optimizer, rebuilt):
        raise ValueError(
            f"model '{model.name}': two variables of its optimizer have the same name, so their "
            "state cannot be carried over; compile the model again after changing the mode"
        )
    _take_over(optimizer, rebuilt)


def _remake(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Another optimizer of the same settings, not built; also of those that no config holds."""
    config = optimizer.get_config()
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        del config["inner_optimizer"]
        return optimizer.__class__(_remake(inner), **config)
    if callable(optimizer._learning_rate):
        # The schedule itself: it may have a state, or be of a class that is not registered.
        config["learning_rate"] = optimizer._learning_rate
    made = optimizer.__class__.from_config(config)
    # Before it is built: an optimizer may then decide which weights it lets decay.
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(made, name, getattr(optimizer, name))
    return made


def _copy_state(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> bool:
    """Copy every variable of ``old`` into that of ``new`` with its name; false: ambiguous names."""
    # A loss-scaling optimizer has an inner one with names of its own. Paths are of no use: they
    # depend on whether `fit` or somebody else built the optimizer.
    values = {variable.name: variable for variable in old._variables}
    if len(values) < len(old._variables):
        return False
    for variable in new._variables:
        if variable.name in values:
            variable.assign(keras.ops.convert_to_numpy(values[variable.name]))
    inner = getattr(old, "inner_optimizer", None)
    return inner is None or _copy_state(inner, new.inner_optimizer)


def _take_over(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> None:
    """Make ``old`` what ``new`` is, so that all who hold ``old`` go on holding the right one."""
    inner = getattr(old, "inner_optimizer", None)
    if inner is not None:
        _take_over(inner, new.inner_optimizer)
        new.inner_optimizer = inner
    vars(old).update(vars(new))
