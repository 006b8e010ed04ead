"""What an experiment, an ensemble and a comparison may say: keys, types, ranges, defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tfskin.errors import UserError
from tfskin.extensions import LOSS, check_part_name

# Bounds that no experiment comes near: what lies beyond is a slip of the pen.
MOST_EPOCHS = 100_000
MOST_FACTOR = 1000.0
MOST_ASPECT = 100.0
MOST_IMAGES = 10_000_000

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What runs, variants and judgements may be called: a folder's name on any disk."""

Resize = Literal["squash", "crop", "imagenet", "pad"]
ColorSpaceName = Literal["rgb", "hsv", "fft"]
BatchNormMode = Literal["update", "affine", "frozen"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Schedule = Literal["constant", "step", "exponential", "cosine", "one_cycle", "plateau"]
Sampling = Literal["none", "undersample", "oversample", "class_balanced"]
Distribution = Literal["none", "mirrored", "multi_worker"]
LOSS_NAMES = ("cross_entropy", "focal", "class_balanced", "logit_adjusted")
"""The names of ``tfskin.training.losses.LOSSES``, which is too slow to import here."""
Combination = Literal["mean_probabilities", "mean_logits", "weights", "stacking"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = tuple[
    Annotated[float, Field(ge=0, le=MOST_ASPECT)], Annotated[float, Field(ge=0, le=MOST_ASPECT)]
]
Epochs = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
LearningRate = Annotated[float, Field(gt=0, le=MOST_FACTOR)]


def _as_pair(value: Any) -> Any:
    """``96`` becomes ``(96, 96)``."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_loss(name: str) -> str:
    try:
        return check_part_name(name, LOSS_NAMES, LOSS)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{LOSS.key}: ")) from None


ImageSize = Annotated[
    tuple[Annotated[int, Field(ge=8, le=4096)], Annotated[int, Field(ge=8, le=4096)]],
    BeforeValidator(_as_pair),
]


class _Schema(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


RANDOM_CHANGES = (
    *("rotation", "zoom", "shift", "shear"),
    *("brightness", "contrast", "saturation", "hue"),
)
"""What ``rand_augment`` chooses from, without those that are set on their own."""


class AugmentConfig(_Schema):
    """Random changes of a training image; a change whose strength is 0 (or false) is left out."""

    horizontal_flip: bool = Field(True, description="mirror left and right, half of the time")
    vertical_flip: bool = Field(True, description="mirror top and bottom, half of the time")
    quarter_turns: bool = Field(True, description="turn by 0, 90, 180 or 270 degrees")
    rotation: float = Field(0.0, ge=0, le=180, description="turn by up to this many degrees")
    zoom: float = Field(0.0, ge=0, lt=1, description="scale by 1/(1+zoom) to 1+zoom")
    shift: Fraction = Field(0.0, description="move by up to this fraction of the side")
    shear: float = Field(0.0, ge=0, lt=60, description="shear by up to this many degrees")
    fill: Literal["reflect", "black"] = Field("reflect", description="what lies beyond the border")
    crop: Range | None = Field(
        None,
        description="random resized crop of the whole stored image, in place of model.resize: "
        "range of the area kept, such as [0.6, 1.0]",
    )
    crop_aspect: Range = Field(
        (0.75, 4 / 3), description="range of the crop's aspect, relative to an undistorted one"
    )
    erasing: Fraction = Field(0.0, description="probability of erasing a random rectangle")
    erasing_area: Range = Field((0.02, 0.2), description="range of the erased area")
    brightness: Fraction = Field(0.0, description="add up to this fraction of 255")
    contrast: float = Field(0.0, ge=0, lt=1, description="scale contrast by 1-c to 1+c")
    saturation: float = Field(0.0, ge=0, lt=1, description="scale saturation by 1-s to 1+s")
    hue: float = Field(0.0, ge=0, le=0.5, description="turn the hue by up to this fraction of 1")
    rand_augment: int = Field(
        0, ge=0, le=8, description="so many random changes an image, of those left at 0 above"
    )
    rand_magnitude: Fraction = Field(
        0.3, description="rand_augment: strength as a fraction of the strongest"
    )
    mixup: float = Field(
        0.0, ge=0, le=100, description="mix images; alpha of their shares' Beta distribution"
    )
    cutmix: float = Field(
        0.0, ge=0, le=100, description="paste a box of another image; alpha as for mixup"
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> AugmentConfig:
        for name in ("crop", "erasing_area"):
            pair = getattr(self, name)
            if pair is not None and not 0 < pair[0] <= pair[1] <= 1:
                raise ValueError(f"{name} must be [low, high] with 0 < low <= high <= 1")
        if not 0 < self.crop_aspect[0] <= self.crop_aspect[1]:
            raise ValueError("crop_aspect must be [low, high] with 0 < low <= high")
        free = sum(not getattr(self, name) for name in RANDOM_CHANGES)
        if self.rand_augment > free:
            raise ValueError(
                f"rand_augment chooses {self.rand_augment} changes, but only {free} of "
                f"{', '.join(RANDOM_CHANGES)} are left at 0"
            )
        return self


class WindowConfig(_Schema):
    """Windows that slide over the stored images; each becomes an input of the network."""

    size: int = Field(ge=8, le=4096, description="side of a window in pixels of the stored image")
    stride: int = Field(
        ge=1, le=4096, description="pixels from one window to the next, at most size"
    )

    @model_validator(mode="after")
    def _check_stride(self) -> WindowConfig:
        if self.stride > self.size:
            raise ValueError(
                f"stride {self.stride} is longer than size {self.size}, so windows would miss "
                "parts of the image"
            )
        return self


class DataConfig(_Schema):
    """Which shards, which classes, and how training images are changed."""

    shards: str = Field(
        "phantom", description="folder that tfskin-prepare wrote; 'phantom': the embedded phantoms"
    )
    classes: dict[str, list[str]] | None = Field(
        None, description="class -> diagnoses in it; others are left out (none: each its own class)"
    )
    exclude: tuple[str, ...] = Field(
        (), description="artefacts whose images are left out: dark_corners, hair, sticker"
    )
    fold: int | None = Field(
        None, ge=0, le=1000, description="which fold is val, for shards prepared with --folds"
    )
    allow_overlap: bool = Field(
        False,
        description="train though the start weights were taught on groups of val, calibration or "
        "test; the figures then say so",
    )
    sampling: Sampling = Field(
        "none", description="how often a class is shown in an epoch; see docs/data.md"
    )
    windows: WindowConfig | None = Field(
        None,
        description="train on windows {size, stride} of each image, and average their predictions",
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="random changes")
    shuffle_buffer: int = Field(
        16384, ge=1, le=2**40, description="encoded images held for shuffling"
    )


class BatchNormParts(_Schema):
    """BatchNorm's mode in each part of the network; one word means both parts."""

    backbone: BatchNormMode = Field(
        "update", description="update: all trains; affine: fixed statistics; frozen: nothing moves"
    )
    head: BatchNormMode = Field("update", description="the same for the head")


def _as_parts(value: Any) -> Any:
    """``frozen`` becomes ``{backbone: frozen, head: frozen}``."""
    return {"backbone": value, "head": value} if isinstance(value, str) else value


class ModelConfig(_Schema):
    """Which network; a key left at none keeps the network's own default."""

    name: str = Field(
        "five_layer", description="a network of tfskin-models, or one's own; see docs/parts.md"
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of a network that have no key here",
    )
    image_size: ImageSize = Field((96, 96), description="height and width in pixels, or one number")
    resize: Resize = Field("squash", description="how an image is brought to image_size")
    color_space: ColorSpaceName = Field("rgb", description="what the first layer turns RGB into")
    color_constancy: bool = Field(
        False, description="a first layer that takes the colour of the light out (shades of grey)"
    )
    widths: tuple[Annotated[int, Field(ge=1, le=65536)], ...] | None = Field(
        None, description="channels of each block"
    )
    activation: str | None = Field(None, description="a Keras activation, such as relu or silu")
    initializer: str | None = Field(None, description="a Keras initialiser, such as he_normal")
    dropout: float | None = Field(None, ge=0, lt=1, description="dropout before the head")
    l2: float | None = Field(None, ge=0, le=1000, description="L2 penalty on convolution kernels")
    weights: str | None = Field(
        None, description="imagenet, a file of weights or a former run's folder; none: fresh"
    )
    batch_norm: Annotated[BatchNormParts, BeforeValidator(_as_parts)] = Field(
        default_factory=BatchNormParts, description="BatchNorm's mode, one word or one a part"
    )
    bn_momentum: float | None = Field(None, ge=0, lt=1, description="BatchNorm's momentum")
    bn_epsilon: float | None = Field(None, gt=0, le=1, description="BatchNorm's epsilon")
    use_bn: bool | None = Field(
        None, description="BatchNorm in a network whose paper has none (lenet, alexnet, vgg, ...)"
    )
    head_bn: bool | None = Field(None, description="BatchNorm of the pooled features")
    head_units: tuple[Annotated[int, Field(ge=1, le=65536)], ...] | None = Field(
        None, description="alexnet, vgg: widths of the dense layers before the logits"
    )
    stride_placement: Literal["v1", "v1.5"] | None = Field(
        None, description="resnet: stride in the 1 x 1 (v1) or 3 x 3 convolution (v1.5)"
    )
    zero_init_gamma: bool | None = Field(
        None, description="resnet, resnext: blocks start as the identity"
    )
    small_stem: bool | None = Field(
        None, description="resnet, resnext: 3 x 3 stem without stride (none: under 96 px)"
    )
    cardinality: int | None = Field(None, ge=1, le=1024, description="resnext: number of groups")
    group_width: int | None = Field(None, ge=1, le=1024, description="resnext: channels a group")
    stochastic_depth: float | None = Field(
        None, ge=0, lt=1, description="efficientnet_lite: probability of leaving out its last block"
    )
    aux_weight: float | None = Field(
        None, ge=0, le=10, description="googlenet: weight of each auxiliary loss; 0: none"
    )


class StageConfig(_Schema):
    """One stage of fine-tuning; what it leaves out is as in ``train`` and ``model``."""

    unfreeze: str = Field("all", description="all, head, or the layer from which on all train")
    epochs: Epochs = Field(description="passes over the training images")
    learning_rate: LearningRate | None = Field(None, description="the highest learning rate")
    depth_decay: float = Field(
        1.0, gt=0, le=1, description="the first layer's rate as a fraction of the head's"
    )
    batch_norm: Annotated[BatchNormParts | None, BeforeValidator(_as_parts)] = Field(
        None, description="BatchNorm's mode, one word or one a part"
    )
    schedule: Schedule | None = Field(None, description="how the learning rate falls")
    warmup_epochs: float | None = Field(
        None, ge=0, le=MOST_EPOCHS, description="epochs of linear rise from 0"
    )


class ProgressiveConfig(_Schema):
    """Image size, dropout and random changes rise from a fraction to all of it, by stage."""

    stages: int = Field(1, ge=1, le=32, description="equal parts of train.epochs; 1: all at once")
    size: float = Field(
        0.5, gt=0, le=1, description="image size of the first part, as a fraction of image_size"
    )
    dropout: Fraction = Field(
        0.3, description="dropout of the first part, as a fraction of model.dropout"
    )
    strength: Fraction = Field(
        0.3,
        description="strength of the random changes in the first part, as a fraction of their own",
    )


class TrainConfig(_Schema):
    """How the network is trained."""

    epochs: Epochs = Field(12, description="passes over the training images")
    stages: tuple[StageConfig, ...] = Field(
        (),
        description="fine-tuning in stages, in place of epochs; a key that is left out is train's",
    )
    progressive: ProgressiveConfig = Field(
        default_factory=ProgressiveConfig, description="image size and regularisation by stage"
    )
    batch_size: int = Field(
        32, ge=1, le=65536, description="images a step, on each replica of a distribution"
    )
    accumulate: int = Field(
        1, ge=1, le=65536, description="steps whose gradients make one update, as a larger batch"
    )
    distribution: Distribution = Field(
        "none",
        description="mirrored: on all GPUs of this machine; multi_worker: on the machines of "
        "TF_CONFIG; see docs/distribution.md",
    )
    scale_learning_rate: Literal["none", "linear", "sqrt"] = Field(
        "none", description="learning_rate times the number of replicas, or its square root"
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adamw", description="the optimiser")
    learning_rate: LearningRate = Field(1e-3, description="the highest learning rate")
    weight_decay: float = Field(
        1e-4, ge=0, le=MOST_FACTOR, description="decoupled decay (adamw only)"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd only)")
    nesterov: bool = Field(True, description="Nesterov's momentum (sgd only)")
    clip_norm: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="longest gradient of an update, over all weights (none: any)",
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the averaged weights that are kept; 0: none"
    )
    schedule: Schedule = Field("cosine", description="how the learning rate falls")
    warmup_epochs: float = Field(
        1.0, ge=0, le=MOST_EPOCHS, description="epochs of linear rise from 0"
    )
    decay_rate: float = Field(0.98, gt=0, le=1, description="exponential: factor an epoch")
    final_fraction: Fraction = Field(0.0, description="cosine, one_cycle: last rate as a fraction")
    step_epochs: Epochs = Field(10, description="step: epochs between two falls")
    step_factor: float = Field(0.1, gt=0, le=1, description="step, plateau: factor of a fall")
    plateau_patience: Epochs = Field(
        5, description="plateau: epochs without a better monitor before a fall"
    )
    rise: float = Field(0.3, gt=0, lt=1, description="one_cycle: share of the updates that rise")
    loss: Annotated[str, AfterValidator(_check_loss)] = Field(
        "cross_entropy",
        description=f"what is minimised: {', '.join(LOSS_NAMES)}, or one's own; see docs/parts.md",
    )
    loss_options: dict[str, Any] = Field(
        default_factory=dict, description="options of a loss that have no key here"
    )
    class_weights: (
        Literal["none", "balanced", "sqrt_balanced"]
        | dict[str, Annotated[float, Field(ge=0, le=1e6)]]
    ) = Field("none", description="weight of an image's loss by its class; a class left out has 1")
    focal_gamma: float = Field(2.0, ge=0, le=10, description="focal: 0 is cross_entropy")
    effective_beta: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="class_balanced: 0 weighs all classes alike; near 1, a class weighs 1/images",
    )
    logit_tau: float = Field(1.0, ge=0, le=10, description="logit_adjusted: strength")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing")
    precision: Precision = Field("auto", description="auto: mixed_float16 on a GPU, else float32")
    jit_compile: Literal["auto", "on", "off"] = Field("auto", description="XLA; auto: on a GPU")
    monitor: Literal["auc", "balanced_accuracy", "accuracy", "f1", "loss"] = Field(
        "auc", description="the figure on val that chooses the best epoch"
    )
    patience: int = Field(
        0,
        ge=0,
        le=MOST_EPOCHS,
        description="stop after this many epochs without a better score; 0: never",
    )
    checkpoint_minutes: float = Field(
        5.0,
        ge=0,
        le=60 * 24 * 366,
        description="minutes between checkpoints within an epoch; 0: at its end only",
    )
    feature_views: int = Field(
        0,
        ge=0,
        le=1000,
        description="for stages that train only the head: each image is seen in this many random "
        "views, whose features are computed once; 0: a new view in each epoch",
    )
    feature_cache: Literal["on", "off"] = Field(
        "on", description="off: compute the same views' features in each epoch, to compare"
    )
    feature_folder: str | None = Field(
        None, description="where features are kept, for several runs (none: within the run)"
    )
    recalibrate: int = Field(
        0,
        ge=0,
        le=MOST_IMAGES,
        description="re-estimate BatchNorm's statistics on so many clean training images",
    )

    @model_validator(mode="after")
    def _check_together(self) -> TrainConfig:
        if self.loss == "class_balanced" and self.class_weights != "none":
            raise ValueError("loss class_balanced has its own weights; set class_weights to none")
        if self.distribution != "none":
            if self.feature_views:
                raise ValueError(
                    "feature_views keeps features for one process; set distribution to none"
                )
            if self.jit_compile == "on":
                raise ValueError("jit_compile on is for one device; set distribution to none")
        if self.progressive.stages > 1:
            if self.stages:
                raise ValueError("progressive has stages of its own; leave train.stages out")
            if self.progressive.stages > self.epochs:
                raise ValueError(f"progressive.stages: at most one an epoch, {self.epochs}")
            if self.schedule == "plateau":
                raise ValueError("progressive needs another schedule than plateau")
        return self


class EvaluateConfig(_Schema):
    """How figures and their intervals are made, and what is decided on the calibration split."""

    batch_size: int = Field(64, ge=1, le=65536, description="images a step")
    resamples: int = Field(1000, ge=100, le=1_000_000, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    calibration: Literal["temperature", "isotonic"] = Field(
        "temperature",
        description="how probabilities are calibrated; isotonic is fitted after the temperature",
    )
    malignant: list[str] | None = Field(
        None, description="classes that count as malignant (none: by the names of their diagnoses)"
    )
    sensitivities: tuple[Fraction, ...] = Field(
        (0.9, 0.95), description="operating points: sensitivities to reach"
    )
    specificities: tuple[Fraction, ...] = Field(
        (0.9,), description="operating points: specificities to reach"
    )
    miss_cost: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="operating point: a miss costs so many false alarms (none: left out)",
    )
    coverage: float = Field(0.9, gt=0.5, lt=1, description="coverage of the prediction sets")
    reliance_images: int = Field(
        200,
        ge=0,
        le=MOST_IMAGES,
        description="number of images of the reliance checks; 0: none",
    )
    explained_images: int = Field(
        6,
        ge=0,
        le=1000,
        description="number of worst-classified images that are explained; 0: none",
    )


class ExperimentConfig(_Schema):
    """One network on one data set."""

    name: str = Field(
        "five_layer",
        pattern=NAME,
        max_length=100,
        description="name of the run, which is written to runs/<name>",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of every random choice")
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)


_MAY_DIFFER = (
    *("model.", "train."),
    *(f"data.{key}" for key in ("classes", "exclude", "sampling", "windows")),
)


class ComparisonConfig(ExperimentConfig):
    """One experiment in several variants, on the same shards, splits and seed."""

    variants: dict[Annotated[str, Field(pattern=NAME, max_length=100)], tuple[str, ...]] = Field(
        min_length=2,
        description="name -> what differs, such as [model.name=vgg16, train.epochs=20]; the runs "
        "are runs/<name>/<variant>",
    )

    @model_validator(mode="after")
    def _check_same_data(self) -> ComparisonConfig:
        for name, overrides in self.variants.items():
            for override in overrides:
                if not override.startswith(_MAY_DIFFER):
                    raise ValueError(
                        f"variants: {name}: '{override}': variants differ in model.*, train.* and "
                        "in what is chosen of the data (data.classes, exclude, sampling, windows), "
                        "so that all see the same shards, splits and seed"
                    )
        return self


class EnsembleConfig(_Schema):
    """Members and how their probabilities become one."""

    name: str = Field(
        "ensemble",
        pattern=NAME,
        max_length=100,
        description="name of the run, which is written to runs/<name>",
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="seed of the folds that choose the stacking's penalty"
    )
    members: list[str] = Field(min_length=2, description="run folders or experiment YAML files")
    combination: Combination = Field(
        "mean_probabilities", description="fitted on the calibration split"
    )
    temperature: bool = Field(True, description="fit a temperature on the calibration split")
    allow_overlap: bool = Field(
        False,
        description="join members whose start weights were taught on held-out groups",
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)


class ExternalConfig(_Schema):
    """Another data set to judge a run on, and how the run's classes are folded into its own."""

    name: str = Field(pattern=NAME, max_length=100, description="written to <run>/external/<name>")
    shards: str = Field(description="folder that tfskin-prepare wrote")
    splits: tuple[Literal["train", "val", "calibration", "test"], ...] = Field(
        ("train", "val", "calibration", "test"), description="which of its splits are used"
    )
    classes: dict[str, list[str]] = Field(
        min_length=2, description="class -> diagnoses of that data set"
    )
    exclude: tuple[str, ...] = Field(
        (), description="artefacts whose images are left out, as data.exclude"
    )
    fold: dict[str, list[str]] = Field(
        description="class -> classes of the run whose probabilities are added; others are "
        "left out and the rest brought to sum 1"
    )

    @model_validator(mode="after")
    def _check_fold(self) -> ExternalConfig:
        if set(self.fold) != set(self.classes) or not all(self.fold.values()):
            raise ValueError("fold and classes must name the same classes, none of them empty")
        return self
