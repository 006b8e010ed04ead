"""What is said of an epoch when it ends."""

from typing import Any


def epoch_line(row: dict[str, Any], *, last_epoch: int, seconds_left: float, is_best: bool) -> str:
    """One line: the epoch's losses and figures, its speed, and how long the rest will take."""
    best = "  best" if is_best else ""
    auc, balanced = row["val_auc"], row["val_balanced_accuracy"]
    return (
        f"epoch {row['epoch']:>3}/{last_epoch}  loss {row['loss']:.4f}  "
        f"val loss {row['val_loss']:.4f}  AUC {'-' if auc is None else format(auc, '.4f')}  "
        f"balanced accuracy {'-' if balanced is None else format(balanced, '.4f')}  "
        f"{row['images_per_second']:.0f} images/s  "
        f"{_overflows(row)}"
        f"{_clock(seconds_left)} left{best}"
    )


def _overflows(row: dict[str, Any]) -> str:
    count = row.get("skipped_steps", 0)
    return f"{count} step{'s' * (count > 1)} skipped by overflow  " if count else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
