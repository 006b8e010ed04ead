"""Photographs of one lesion, found without ids: what is found and what is linked falsely.

Example: python scripts/measure_photographs.py HAM10000/images HAM10000/HAM10000_metadata.csv \
    --cache features/ --sheets sheets/

The metadata need the columns image_id and lesion_id; lesion ids are hidden from the search and
used to judge it. Links across lesion ids are counted as false, though some are true: see them on
the contact sheets.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from tfskin.datasets.images import read_image
from tfskin.datasets.photographs.grouping import group_linked
from tfskin.datasets.photographs.probability import REPORTING, SPLITTING
from tfskin.datasets.photographs.search import SearchOptions, find_photographs
from tfskin.datasets.splits import make_splits

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
SHOWN = 60
SIDE = (300, 225)


def read_table(folder: Path, metadata: Path, limit: int | None) -> pd.DataFrame:
    """A row an image: image_id, lesion_id, dx where there is one, and path, sorted by image."""
    table = pd.read_csv(metadata, dtype=str, keep_default_na=False)
    files = {path.stem: str(path) for path in sorted(folder.rglob("*.jpg"))}
    table["path"] = table["image_id"].map(files)
    table = table.dropna(subset=["path"]).sort_values("image_id", ignore_index=True)
    if limit is not None:  # whole lesions, those of several images first
        sizes = table.groupby("lesion_id")["image_id"].transform("size")
        order = np.random.default_rng(0).permutation(len(table))
        lesion_order = table.loc[order].groupby("lesion_id", sort=False).ngroup()
        several = (sizes > 1) & (lesion_order < limit // 2)
        rest = np.flatnonzero(sizes == 1)[: limit - int(several.sum())]
        table = table[several | table.index.isin(rest)].reset_index(drop=True)
    return table


def pair_lesions(lesions: pd.Series) -> set[tuple[int, int]]:
    """The pairs of images of one lesion, as indices in order."""
    return {
        (first, second)
        for places in lesions.groupby(lesions).indices.values()
        for first in map(int, places)
        for second in map(int, places)
        if first < second
    }


def report_thresholds(table: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """For each threshold: what links and groups hold of the lesions, and what is false."""
    true_pairs = pair_lesions(table["lesion_id"])
    pairs = np.array(sorted(true_pairs), np.int64).reshape(-1, 2)
    lesions = table["lesion_id"].to_numpy(object)
    same = lesions[links["first"]] == lesions[links["second"]]
    sizes = table["lesion_id"].value_counts()
    several = table["lesion_id"].isin(sizes[sizes > 1].index)
    rows = []
    for threshold in THRESHOLDS:
        linked = (links["probability"] >= threshold).to_numpy()
        found = group_linked(
            np.arange(len(table)), links, splitting=threshold, reporting=max(threshold, REPORTING)
        )
        groups = pd.Series(found.groups)
        whole = groups[several].groupby(table["lesion_id"][several]).nunique() == 1
        together = groups.to_numpy()[pairs]
        rows.append(
            {
                "threshold": threshold,
                "pairs linked %": 100 * (same & linked).sum() / max(len(pairs), 1),
                "pairs in a group %": 100 * (together[:, 0] == together[:, 1]).mean(),
                "lesions whole %": 100 * whole.mean(),
                "links across ids": int((~same & linked).sum()),
                "a 1,000 images": 1000 * (~same & linked).sum() / len(table),
                "largest group": found.largest,
                "links cut": int(found.cut.sum()),
                "of one lesion": int((found.cut & same).sum()),
            }
        )
    return pd.DataFrame(rows)


def count_whole_in_split(table: pd.DataFrame, links: pd.DataFrame, seeds: int = 5) -> float:
    """The share of lesions of several images that are wholly in one split, over some seeds."""
    found = group_linked(
        np.arange(len(table)), links, splitting=SPLITTING, reporting=REPORTING
    ).groups
    records = pd.DataFrame({"image_id": table["image_id"], "diagnosis": table.get("dx", "unknown")})
    sizes = table["lesion_id"].value_counts()
    several = table["lesion_id"].isin(sizes[sizes > 1].index)
    shares = []
    for seed in range(seeds):
        split = make_splits(records, found, seed=seed)
        shares.append((split[several].groupby(table["lesion_id"][several]).nunique() == 1).mean())
    return float(np.mean(shares))


def lay_over(first: Image.Image, second: Image.Image, link: pd.Series) -> Image.Image:
    """The first image, moved to lie as the second: what a link says, made visible."""
    area = (400 * 300) ** 0.5
    scales = [area / (image.width * image.height) ** 0.5 for image in (first, second)]
    if link["mirrored"]:
        first = first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turn = np.radians(link["turn"])
    linear = link["zoom"] * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    whole = np.eye(3)
    whole[:2] = np.column_stack([linear, [link["shift_x"], link["shift_y"]]])
    whole = np.diag([1 / scales[1]] * 2 + [1]) @ whole @ np.diag([scales[0]] * 2 + [1])
    backward = np.linalg.inv(whole)[:2].ravel().tolist()
    return first.transform(
        second.size, Image.Transform.AFFINE, backward, Image.Resampling.BICUBIC, fillcolor="black"
    )


def draw_pair(table: pd.DataFrame, link: pd.Series, caption: str) -> Image.Image:
    """The first image, the same laid over the second, and the second, side by side."""
    paths = table["path"].iloc[[link["first"], link["second"]]]
    first, second = (read_image(path) for path in paths)
    sheet = Image.new("RGB", (3 * SIDE[0], SIDE[1] + 16), "white")
    for place, image in enumerate((first, lay_over(first, second, link), second)):
        sheet.paste(image.resize(SIDE), (place * SIDE[0], 16))
    ImageDraw.Draw(sheet).text((4, 2), caption, fill="black")
    return sheet


def write_sheets(table: pd.DataFrame, links: pd.DataFrame, folder: Path, name: str) -> None:
    """PNG files of fifteen pairs each."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(links), 15):
        rows = links.iloc[start : start + 15]
        tiles = [
            draw_pair(
                table,
                link,
                f"{start + place}: p {link['probability']:.3f}, "
                f"inliers {link['inliers']}, guided {link['guided']}",
            )
            for place, (_, link) in enumerate(rows.iterrows())
        ]
        width, height = tiles[0].size
        sheet = Image.new("RGB", (2 * width + 8, -(-len(tiles) // 2) * (height + 4)), "white")
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (place % 2 * (width + 8), place // 2 * (height + 4)))
        sheet.save(folder / f"{name}-{start // 15}.png")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files named by image id, anywhere below")
    parser.add_argument("metadata", type=Path, help="CSV with image_id and lesion_id")
    parser.add_argument("--cache", type=Path, help="a folder for the features")
    parser.add_argument("--limit", type=int, help="about so many images")
    parser.add_argument("--nearest", type=int, default=SearchOptions().nearest)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--links", type=Path, help="write the links as CSV here")
    parser.add_argument("--sheets", type=Path, help="write the weakest links as PNG files here")
    arguments = parser.parse_args()
    table = read_table(arguments.folder, arguments.metadata, arguments.limit)
    start, cpu = time.monotonic(), time.process_time()
    links = find_photographs(
        table["path"].tolist(),
        cache=arguments.cache,
        options=SearchOptions(nearest=arguments.nearest),
        workers=arguments.workers,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(table)} images, {len(pair_lesions(table['lesion_id']))} pairs of one lesion; "
        f"{time.monotonic() - start:.0f} s, {time.process_time() - cpu:.0f} s of processor time, "
        f"{peak:,.0f} MiB at most"
    )
    print(report_thresholds(table, links).round(3).to_string(index=False))
    share = count_whole_in_split(table, links)
    print(f"lesions of several images wholly in one split at {SPLITTING}: {share:.1%}")
    if arguments.links:
        ids = table["image_id"].to_numpy(object)
        named = links.assign(
            image_id_1=ids[links["first"]],
            image_id_2=ids[links["second"]],
        )
        named.to_csv(arguments.links, index=False)
    if arguments.sheets:
        for name, threshold in (("splitting", SPLITTING), ("reporting", REPORTING)):
            above = links[links["probability"] >= threshold]
            weakest = above.sort_values("probability").head(SHOWN)
            write_sheets(table, weakest, arguments.sheets, name)
        lesions = table["lesion_id"].to_numpy(object)
        across = links[lesions[links["first"]] != lesions[links["second"]]]
        across = across[across["probability"] >= REPORTING].sort_values("probability")
        write_sheets(table, across, arguments.sheets, "across")


if __name__ == "__main__":
    main()
