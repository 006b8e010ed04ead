"""Kill and double-start commands that write, at drawn moments, and see that nothing is lost.

    python scripts/check_writers.py --folder trials --trials 60 --seed 0

Each trial takes one command on phantoms. It is killed after a drawn time and started again, or
started twice, the second a drawn time after the first. Then the result must be there whole, equal
to that of an undisturbed call, with nothing hidden beside it; of two at once, the second must have
ended with 0 after the first or with 2 and a line that names the first.
"""

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

TINY = [
    *("model.image_size=32", "model.widths=[4, 4, 8, 8, 8]", "train.epochs=1"),
    *("evaluate.resamples=100", "evaluate.reliance_images=0", "evaluate.explained_images=0"),
]
QUICK = TINY[3:]
REFUSED = r"process \d+ has been writing it since|is there already"


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    name, *rest = words
    code = f"import sys; from tfskin.cli.{name} import main; sys.argv[0] = 'tfskin-{name}'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *rest],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(words: list[str], folder: Path) -> float:
    begun = time.monotonic()
    process = start(words, folder)
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: {err}")
    return time.monotonic() - begun


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def rows(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def figures(run: Path) -> str:
    return json.dumps(json.loads((run / "metrics.json").read_text(encoding="utf-8"))["splits"])


def fingerprint(shards: Path) -> str:
    return str(json.loads((shards / "shards.json").read_text(encoding="utf-8"))["fingerprint"])


def versions(export: Path) -> str:
    found = [path for path in export.iterdir() if path.name.isdigit()]
    whole = [path for path in found if (path / "assets.extra" / "MODEL_CARD.md").is_file()]
    return "whole" if found and len(found) == len(whole) else f"{len(whole)} of {len(found)} whole"


def plan(base: Path) -> dict[str, tuple[list[str], Callable[[Path], str]]]:
    """Name -> the command's words, and what must be equal of its result in a folder."""
    a, b = str(base / "runs" / "a"), str(base / "runs" / "b")
    images, shards = str(base / "drawn"), str(base / "tfrecords" / "phantom")
    return {
        "prepare": (
            ["prepare", "phantom", "drawn", "--lesions", "40", "--output", "shards", "--overwrite"],
            lambda folder: fingerprint(folder / "shards" / "phantom" / "1.0.0"),
        ),
        "predict": (
            ["predict", a, images, "--output", "rows.csv", "--batch-size", "4"],
            lambda folder: rows(folder / "rows.csv"),
        ),
        "train": (
            ["train", "five_layer_rgb.yaml", *TINY, f"data.shards={shards}", "--output", "run"],
            lambda folder: figures(folder / "run"),
        ),
        "ensemble": (
            ["ensemble", a, b, *QUICK, "--output", "both", "--overwrite"],
            lambda folder: figures(folder / "both"),
        ),
        "export": (
            ["export", a, "--output", "exports", "--name", "x"],
            lambda folder: versions(folder / "exports" / "x"),
        ),
        "evaluate": (
            ["evaluate", a, "--output", "judged", "--resamples", "100"],
            lambda folder: figures(folder / "judged"),
        ),
        "compare": (
            ["compare", a, b, "--output", "pair"],
            lambda folder: str((folder / "pair" / "comparison.json").stat().st_size),
        ),
    }


def prepare(base: Path) -> None:
    finish(["prepare", "phantom", "drawn", "--lesions", "40"], base)
    for name, seed in (("a", 0), ("b", 1)):
        words = [*TINY, "data.shards=tfrecords/phantom", f"seed={seed}", "--output", f"runs/{name}"]
        finish(["train", "five_layer_rgb.yaml", *words], base)


def try_once(
    words: list[str],
    check: Callable[[Path], str],
    expected: str,
    folder: Path,
    *,
    kill: bool,
    pause: float,
) -> str:
    """What went wrong; empty for nothing."""
    first = start(words, folder)
    time.sleep(pause)
    if kill:
        first.send_signal(signal.SIGKILL)
        first.communicate()
        finish(words, folder)
    else:
        second = start(words, folder)
        _, said = second.communicate()
        _, err = first.communicate()
        if first.returncode not in (0, 2):
            return f"the first ended with {first.returncode}: {err}"
        codes = sorted((first.returncode, second.returncode))
        refused = said if second.returncode else err
        if codes == [0, 2] and not re.search(REFUSED, refused):
            return f"the refused one said: {refused}"
        if codes not in ([0, 0], [0, 2]):
            return f"ended with {codes}: {said} {err}"
    if check(folder) != expected:
        return "the result is another"
    left = hidden(folder)
    return f"left {left}" if left else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no trial after so many")
    given = parser.parse_args()
    base = given.folder.absolute()
    base.mkdir(parents=True)
    prepare(base)
    generator, begun = random.Random(given.seed), time.monotonic()
    commands, known, counts, failed = plan(base), {}, Counter[str](), 0
    for number in range(given.trials):
        if time.monotonic() - begun > given.seconds:
            break
        name = list(commands)[number % len(commands)]
        words, check = commands[name]
        if name not in known:
            folder = base / f"undisturbed-{name}"
            folder.mkdir()
            known[name] = (finish(words, folder), check(folder))
        seconds, expected = known[name]
        kill = (number // len(commands)) % 2 == 0
        folder = base / f"trial-{number}"
        folder.mkdir()
        if words[-1] == "--overwrite" and generator.random() < 0.5:
            finish(words, folder)
        pause = generator.uniform(0, seconds) if kill else generator.uniform(0, 0.6 * seconds)
        fault = try_once(words, check, expected, folder, kill=kill, pause=pause)
        kind = f"{name}, {'killed' if kill else 'started twice'}"
        counts[kind] += 1
        failed += bool(fault)
        print(f"{number + 1}: {kind} after {pause:.1f} s: {fault or 'right'}", flush=True)
        if not fault:
            shutil.rmtree(folder)
    for kind, count in sorted(counts.items()):
        print(f"{kind}: {count}")
    print(f"{counts.total()} trials, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
