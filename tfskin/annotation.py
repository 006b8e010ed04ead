"""Images with a panel beside them that shows what a model says."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfskin.datasets.decoding import turn_upright
from tfskin.datasets.images import read_image
from tfskin.errors import UserError
from tfskin.evaluation.overlays import overlay_heat
from tfskin.files import replace_file
from tfskin.prediction.answers import HeatMap, Prediction

BACKGROUND = (255, 255, 255)
TEXT = (32, 32, 32)
TRACK = (232, 234, 237)
BAR = (140, 160, 185)
# Blue and orange differ for the colour-blind too; the predicted class is also marked by bold text.
PREDICTED_BAR = (213, 94, 0)

# Pixels. An image that is lower than the least height is enlarged, so that its panel's text is
# readable without changing the image's shape.
_LEAST_HEIGHT = 320
_LEAST_TEXT, _MOST_TEXT = 15, 60
_TEXT_FRACTION = 1 / 28
_JPEG_QUALITY = 92
_COMMENT = b"annotated by tfskin-predict"


def annotate_image(image: Image.Image, prediction: Prediction) -> Image.Image:
    """The image, upright, with a panel of all class probabilities to its right.

    With a heat map, the image under its heat map stands between them.

    Text and bars scale with the image's height; a small image is enlarged to 320 pixels of
    height. Classes keep the order of ``prediction.class_names``, so that images compare.

    Args:
        image: any mode and size.
        prediction: for that image; its ``error`` is written in place of bars if it has one.

    Returns:
        An RGB image; the image fills its left part.
    """
    shown = turn_upright(image).convert("RGB")
    if prediction.heat_map is not None:
        shown = _beside(shown, lay_heat_map(shown, prediction.heat_map))
    text = min(max(round(shown.height * _TEXT_FRACTION), _LEAST_TEXT), _MOST_TEXT)
    panel = _draw_panel(prediction, text)
    height = max(shown.height, panel.height, _LEAST_HEIGHT)
    if shown.height < height:
        # Enlarge as far as it takes, but never beyond twice the panel's width for a wide image.
        scale = min(height / shown.height, max(1.0, 2 * panel.width / shown.width))
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (shown.width + panel.width, height), BACKGROUND)
    canvas.paste(shown, (0, (height - shown.height) // 2))
    canvas.paste(panel, (shown.width, (height - panel.height) // 2))
    return canvas


class Annotator:
    """Writes ``<name>_predicted.jpg`` for one image after another.

    Images of the same name get ``_2``, ``_3``, ...; a file that tfskin did not write is never
    overwritten, one of an earlier call is.

    Args:
        folder: made if it is missing.

    Raises:
        UserError: ``folder`` is a file.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{folder}: is a file; choose a folder for the annotated images")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._numbers: dict[str, int] = {}
        self._names: set[str] = set()

    def write(self, prediction: Prediction) -> Path:
        """The file of an image that could be read.

        Raises:
            UserError: it is no longer readable.
        """
        path = self._free_path(prediction.path.stem)
        annotated = annotate_image(read_image(prediction.path), prediction)
        with replace_file(path) as temporary:
            annotated.save(
                temporary, "JPEG", quality=_JPEG_QUALITY, subsampling=0, comment=_COMMENT
            )
        return path

    def pass_over(self, path: Path) -> None:
        """Count an image that an earlier call wrote, so that no other gets its name."""
        self._free_path(path.stem)

    def _free_path(self, stem: str) -> Path:
        while True:
            number = self._numbers[stem] = self._numbers.get(stem, 0) + 1
            suffix = "" if number == 1 else f"_{number}"
            path = self.folder / f"{stem}_predicted{suffix}.jpg"
            if path.name not in self._names and (not path.exists() or _is_ours(path)):
                self._names.add(path.name)
                return path


def lay_heat_map(image: Image.Image, heat_map: HeatMap) -> Image.Image:
    """The RGB image with a heat map over the part of it that the network saw."""
    top, left, bottom, right = heat_map.box
    place = [left * image.width, top * image.height]
    place += [right * image.width, bottom * image.height]
    x, y, x_end, y_end = (round(value) for value in place)
    values = Image.fromarray(np.asarray(heat_map.values, np.float32))
    size = (max(1, x_end - x), max(1, y_end - y))
    whole = Image.new("F", image.size)
    whole.paste(values.resize(size, Image.Resampling.BILINEAR), (x, y))
    return Image.fromarray(overlay_heat(np.asarray(image), np.asarray(whole)))


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (left.width + right.width, left.height), BACKGROUND)
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width, 0))
    return canvas


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get("comment") == _COMMENT
    except OSError:
        return False


def _draw_panel(prediction: Prediction, text: int) -> Image.Image:
    """Title and one labelled bar a class, as large as they need with text of that many pixels."""
    regular, bold = _font(text, bold=False), _font(text, bold=True)
    row, margin, bar = round(text * 1.7), round(text * 0.8), text * 7
    title, *lines = _headings(prediction)
    names = [] if prediction.error else list(map(_one_line, prediction.class_names))
    label = max((bold.getlength(name) for name in names), default=0)
    number = bold.getlength("100.0 %")
    body = label + bar + number + 2 * margin if names else 0
    widest = max(regular.getlength(line) for line in lines)
    width = round(max(body, bold.getlength(title), widest) + 2 * margin)
    top_rows = 1 + len(lines)
    height = 2 * margin + row * (top_rows + len(names)) + (margin if names else 0)
    panel = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(panel)

    def write(x: float, y: float, words: str, font: ImageFont.FreeTypeFont, anchor: str) -> None:
        draw.text((x, y + row / 2), words, fill=TEXT, font=font, anchor=anchor)

    write(margin, margin, title, bold, "lm")
    for number_of_line, line in enumerate(lines, start=1):
        write(margin, margin + row * number_of_line, line, regular, "lm")
    left = margin + label + margin
    for place, (name, value) in enumerate(zip(names, prediction.probabilities, strict=False)):
        y = 2 * margin + row * (top_rows + place)
        is_predicted = name == _one_line(prediction.predicted)
        font = bold if is_predicted else regular
        write(margin, y, name, font, "lm")
        top, bottom = y + row * 0.2, y + row * 0.8
        draw.rectangle((left, top, left + bar, bottom), fill=TRACK)
        if value * bar >= 1:
            color = PREDICTED_BAR if is_predicted else BAR
            draw.rectangle((left, top, left + value * bar, bottom), fill=color)
        write(width - margin, y, f"{value:.1%}".replace("%", " %"), font, "rm")
    return panel


def _headings(prediction: Prediction) -> list[str]:
    """Title, file name, and what must be said of a heat map without heat."""
    if prediction.error:
        return ["not read", _one_line(prediction.error)]
    title = f"{_one_line(prediction.predicted)}  {prediction.probability:.1%}".replace("%", " %")
    lines = [title, _shorten(prediction.path.name)]
    if prediction.heat_map is not None and not prediction.heat_map.values.any():
        lines.append("no place speaks for it")
    return lines


def _one_line(text: str) -> str:
    """The text without what Pillow can't draw on a line: breaks, controls, halves of characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def _shorten(name: str, most: int = 32) -> str:
    name = _one_line(name)
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


@lru_cache
def _font(size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    # Matplotlib brings DejaVu Sans, whose letters cover Latin, Greek and Cyrillic class names.
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
