"""Pairs of images for a person to judge, without score or ids, and what the verdicts say.

Example, first the sheets and an empty form:

    python scripts/judge_photographs.py HAM10000/images HAM10000/HAM10000_metadata.csv \
        links.csv judged/

then, with judged/verdicts.csv filled in (probable; neighbour: the same skin,
but another of its lesions in the middle; unlikely; unsure), the table:

    python scripts/judge_photographs.py HAM10000/images HAM10000/HAM10000_metadata.csv \
        links.csv judged/ --table pairs.csv

``links.csv`` is what ``measure_photographs.py --links`` wrote. The links across lesion ids at the
reporting threshold are shuffled among two thirds as many pairs of known status: the weaker ones of
one lesion id, and those of two ids that were aligned by chance and agree the most.
"""

import argparse
from pathlib import Path

import pandas as pd
from measure_photographs import draw_pair, read_table

from tfskin.datasets.photographs.probability import REPORTING
from tfskin.files import replace_file

VERDICTS = ("probable", "neighbour", "unlikely", "unsure")
SEED = 7
A_SHEET = 8


def choose_pairs(table: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """The links to judge and the known ones among them, shuffled; ``status`` says which."""
    lesions = table["lesion_id"].to_numpy(object)
    same = lesions[links["first"]] == lesions[links["second"]]
    sure = links["probability"] >= REPORTING
    across = links[sure & ~same].assign(status="across")
    few = len(across) // 3
    known = links[sure & same].nsmallest(4 * few, "probability")
    one = known.sample(few, random_state=SEED).assign(status="one lesion")
    chance = links[~same & (links["probability"] < 0.1)]
    two = chance.nlargest(2 * few, "correlation").sample(few, random_state=SEED)
    chosen = pd.concat([across, one, two.assign(status="two lesions")])
    return chosen.sample(frac=1, random_state=SEED).reset_index(drop=True)


def write_form(table: pd.DataFrame, pairs: pd.DataFrame, folder: Path) -> None:
    """Sheets of pairs by number, and a form with a row for each."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pairs), A_SHEET):
        rows = pairs.iloc[start : start + A_SHEET]
        tiles = [draw_pair(table, link, f"pair {place}") for place, link in rows.iterrows()]
        width, height = tiles[0].size
        sheet = Image.new("RGB", (2 * width + 8, -(-len(tiles) // 2) * (height + 4)), "white")
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (place % 2 * (width + 8), place // 2 * (height + 4)))
        sheet.save(folder / f"sheet-{start // A_SHEET}.png")
    form = folder / "verdicts.csv"
    if not form.exists():
        pd.DataFrame({"pair": range(len(pairs)), "verdict": ""}).to_csv(form, index=False)


def join_verdicts(table: pd.DataFrame, pairs: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The judged links across lesion ids; how the known pairs were judged is printed."""
    form = pd.read_csv(folder / "verdicts.csv", keep_default_na=False).set_index("pair")
    verdicts = form["verdict"].reindex(pairs.index)
    wrong = verdicts[~verdicts.isin(VERDICTS)]
    if len(wrong):
        raise SystemExit(f"pair {wrong.index[0]}: give one of {', '.join(VERDICTS)}")
    print(pd.crosstab(pairs["status"], verdicts))
    judged = pairs[pairs["status"] == "across"]
    result = pd.DataFrame(
        {
            f"{column}_{number}": table[source].to_numpy(object)[judged[place]]
            for column, source in (("image_id", "image_id"), ("lesion_id", "lesion_id"))
            for number, place in ((1, "first"), (2, "second"))
        }
    )
    for number, place in ((1, "first"), (2, "second")):
        result[f"diagnosis_{number}"] = table["dx"].to_numpy(object)[judged[place]]
    for name, digits in (("inliers", 0), ("correlation", 2), ("turn", 0), ("zoom", 2)):
        values = judged[name].to_numpy()
        result[name] = values if digits == 0 and name == "inliers" else values.round(digits)
    result["mirrored"] = judged["mirrored"].to_numpy()
    result["verdict"] = verdicts[judged.index].to_numpy()
    return result.sort_values(["image_id_1", "image_id_2"], ignore_index=True)


def main() -> None:
    """Write the sheets, or with ``--table`` the judged links."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="JPEG files named by image id, anywhere below")
    parser.add_argument("metadata", type=Path, help="CSV with image_id, lesion_id and dx")
    parser.add_argument("links", type=Path, help="CSV of measure_photographs.py --links")
    parser.add_argument("judged", type=Path, help="where sheets and verdicts.csv are")
    parser.add_argument("--table", type=Path, help="write the judged links here")
    arguments = parser.parse_args()
    table = read_table(arguments.folder, arguments.metadata, None)
    pairs = choose_pairs(table, pd.read_csv(arguments.links))
    if arguments.table is None:
        write_form(table, pairs, arguments.judged)
        print(f"{len(pairs)} pairs; write the verdicts into {arguments.judged / 'verdicts.csv'}")
        return
    with replace_file(arguments.table) as temporary:
        join_verdicts(table, pairs, arguments.judged).to_csv(
            temporary, index=False, lineterminator="\n"
        )


if __name__ == "__main__":
    main()
