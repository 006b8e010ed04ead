"""Drawing of one dermoscopic phantom: skin and lesion, after the ABCD rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

# Mean colour of lit skin by Fitzpatrick type (RGB, 0..255).
SKIN_COLORS = {
    "I": (226, 184, 174),
    "II": (217, 172, 158),
    "III": (200, 150, 128),
    "IV": (172, 120, 94),
    "V": (130, 86, 64),
    "VI": (92, 60, 46),
}
LIGHT_BROWN = (176, 114, 74)
DARK_BROWN = (90, 48, 32)
# The other colours that the ABCD rule counts.
BLOTCH_COLORS = {
    "black": (38, 28, 30),
    "red": (178, 84, 82),
    "blue_grey": (98, 104, 120),
    "white": (226, 206, 200),
    "dark_brown": (72, 42, 32),
}
_BLOTCH_RATES = (0.22, 0.22, 0.2, 0.16, 0.2)
_ANGLES = 512
_TILE_SIDE = 1024


@dataclass(frozen=True)
class Blotch:
    """A patch of another colour; lengths are in radii of the lesion."""

    color: str
    u: float
    v: float
    radius: float
    strength: float


@dataclass(frozen=True)
class Traits:
    """What one lesion looks like from every side; lengths are in image heights."""

    seed: int
    radius: float
    aspect: float
    outline: Array  # radius factor at 512 angles
    raggedness: float  # how far noise moves the border, in radii
    softness: float  # width of the border's gradient, as a fraction of the radius
    softness_contrast: float  # how much sharper one side's border is
    darkness: float
    variegation: float
    gradient: float
    gradient_angle: float
    network: float
    network_disorder: float
    globules: int
    blotches: tuple[Blotch, ...]


@dataclass(frozen=True)
class View:
    """How one image of a lesion was taken."""

    angle: float
    zoom: float
    shift: tuple[float, float]
    gains: tuple[float, float, float]
    light: tuple[float, float]
    blur: float
    noise: float


def draw_traits(rng: np.random.Generator, *, malignant: bool, separation: float) -> Traits:
    """The traits of a lesion; melanoma-like and nevus-like ones overlap.

    Each of asymmetry, border, colour, diameter and structure has a severity: a normal variable
    whose mean is ``+separation / 2`` for melanoma and ``-separation / 2`` for nevus and a part of
    which (the lesion's overall atypia) is common to all five.
    """
    mean = separation * (0.5 if malignant else -0.5)
    severity = mean + 0.7 * rng.standard_normal() + 0.7 * rng.standard_normal(5)
    asymmetry, border, color, diameter, structure = (float(s) for s in severity)
    blotches = int(rng.poisson(min(0.55 * np.exp(0.75 * color), 5.0)))
    return Traits(
        seed=int(rng.integers(2**31)),
        radius=float(np.clip(0.25 * np.exp(0.16 * diameter + rng.normal(0, 0.2)), 0.11, 0.47)),
        aspect=float(1 + 0.12 * abs(rng.standard_normal()) * np.exp(0.3 * asymmetry)),
        outline=_draw_outline(rng, asymmetry, border),
        raggedness=float(np.clip(0.05 * np.exp(0.35 * border), 0.02, 0.16)),
        softness=float(0.16 * np.exp(-0.3 * border + rng.normal(0, 0.3))),
        softness_contrast=float(np.clip(0.25 + 0.2 * border, 0, 0.85)),
        darkness=float(np.clip(0.42 + 0.1 * color + rng.normal(0, 0.17), 0.05, 0.95)),
        variegation=float(np.clip(0.2 * np.exp(0.45 * color + rng.normal(0, 0.25)), 0.05, 0.8)),
        gradient=float(0.14 * np.exp(0.4 * asymmetry + rng.normal(0, 0.25))),
        gradient_angle=float(rng.uniform(0, 2 * np.pi)),
        network=float(np.clip(rng.normal(0.5, 0.3), 0, 1)),
        network_disorder=float(np.clip(0.35 * np.exp(0.6 * structure), 0.05, 1.6)),
        globules=int(rng.poisson(5) if rng.random() < 0.45 else 0),
        blotches=tuple(_draw_blotch(rng) for _ in range(blotches)),
    )


def _draw_blotch(rng: np.random.Generator) -> Blotch:
    angle, distance = rng.uniform(0, 2 * math.pi), 0.75 * math.sqrt(rng.random())
    return Blotch(
        color=str(rng.choice(list(BLOTCH_COLORS), p=_BLOTCH_RATES)),
        u=distance * math.cos(angle),
        v=distance * math.sin(angle),
        radius=float(rng.uniform(0.15, 0.5)),
        strength=float(rng.uniform(0.45, 0.85)),
    )


def _draw_outline(rng: np.random.Generator, asymmetry: float, border: float) -> Array:
    theta = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    outline = np.ones(_ANGLES)
    for k in range(2, 17):
        if k <= 3:
            scale = 0.05 * np.exp(0.35 * asymmetry)
        else:
            scale = 0.05 * np.exp(0.4 * border) / k**0.9
        outline += scale * rng.standard_normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.poisson(min(0.4 * np.exp(0.6 * border), 4.0)))):
        offset = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        outline -= rng.uniform(0.1, 0.3) * np.exp(-((offset / rng.uniform(0.1, 0.25)) ** 2))
    if rng.random() < 0.25 + 0.12 * border:  # streaks along a sector
        offset = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        uneven = rng.uniform(1, 2.5) * np.sin(2 * theta + rng.uniform(0, 2 * np.pi))
        spikes = np.abs(np.cos(rng.integers(10, 18) * theta + uneven)) ** 4
        outline += (
            rng.uniform(0.05, 0.13) * spikes * np.exp(-((offset / rng.uniform(0.4, 0.9)) ** 2))
        )
    return np.clip(outline, 0.35, 1.8).astype(np.float32)


class Frame:
    """The pixel grid of one view, and noise that is fixed to the lesion.

    Attributes:
        u, v: coordinates of each pixel on the skin, (h, w), in image heights, 0 at the lesion.
    """

    def __init__(self, view: View, image_size: tuple[int, int]):
        height, width = image_size
        cos = np.float32(math.cos(view.angle) / view.zoom / height)
        sin = np.float32(math.sin(view.angle) / view.zoom / height)
        x = np.arange(width, dtype=np.float32) + np.float32(
            0.5 - width / 2 - view.shift[0] * height
        )
        y = np.arange(height, dtype=np.float32) + np.float32(
            0.5 - height / 2 - view.shift[1] * height
        )
        self.u: Array = cos * x - sin * y[:, None]
        self.v: Array = sin * x + cos * y[:, None]

    def noise(self, rng: np.random.Generator, cells: float) -> Array:
        """Smooth noise of about unit deviation, (h, w), with ``cells`` grains an image height."""
        tile, samples = _noise_tile(fine=cells > 10)
        across, down = rng.integers(_TILE_SIDE, size=2)
        scale = cells * samples
        column = (self.u * scale).astype(np.int32) + np.int32(across)
        row = (self.v * scale).astype(np.int32) + np.int32(down)
        index = ((row & (_TILE_SIDE - 1)) * _TILE_SIDE) + (column & (_TILE_SIDE - 1))
        return tile.take(index)


@lru_cache(maxsize=2)
def _noise_tile(*, fine: bool) -> tuple[Array, int]:
    """Noise that repeats without a seam, and how many samples one of its grains has.

    A gather from one large tile costs a quarter of warping fresh noise for every image.
    """
    grains = 128 if fine else 16
    samples = _TILE_SIDE // grains
    grid = np.random.default_rng(grains).standard_normal((grains, grains), dtype=np.float32)
    margin = 3
    side = (grains + 2 * margin) * samples
    smooth = Image.fromarray(np.pad(grid, margin, mode="wrap")).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    inner = slice(margin * samples, margin * samples + _TILE_SIDE)
    tile = np.ascontiguousarray(np.asarray(smooth)[inner, inner])
    return np.asarray(tile / tile.std(), np.float32), samples


def draw_skin(rng: np.random.Generator, frame: Frame, skin_type: str) -> Array:
    """Lit skin, (h, w, 3) float32 in 0..255: tone, blotches, furrows, faint vessels."""
    tone = np.array(SKIN_COLORS[skin_type], np.float32)
    tone *= 1 + np.float32(0.03) * rng.standard_normal(3, dtype=np.float32)
    broad = frame.noise(rng, 2.5)
    furrows = np.minimum(np.abs(frame.noise(rng, 14)), 0.5)
    fine = frame.noise(rng, 45)
    vessels = np.exp(-np.square(frame.noise(rng, 5) * 12)) * (broad > 0.3)
    shade = 0.98 + 0.03 * broad + 0.02 * fine + 0.05 * furrows
    redness = 0.012 * broad + 0.1 * vessels
    absorbed = np.array([0.2, 1.0, 0.8], np.float32)
    lit = shade[..., None] * tone * (1 - redness[..., None] * absorbed)
    return lit.astype(np.float32, copy=False)


def draw_lesion(skin: Array, frame: Frame, traits: Traits) -> Array:
    """The image with the lesion on the skin, (h, w, 3) float32 in 0..255."""
    rng = np.random.default_rng(traits.seed)
    warp, mottle, fine = (frame.noise(rng, cells) for cells in (9, 4.5, 26))
    stretch = math.sqrt(traits.aspect)
    u, v = frame.u / (traits.radius * stretch), frame.v / (traits.radius / stretch)
    theta = np.arctan2(v, u)
    index = (theta * (_ANGLES / (2 * math.pi))).astype(np.int32) % _ANGLES
    depth = 1 - np.hypot(u, v) / traits.outline.take(index)
    depth += traits.raggedness * (warp + 0.7 * mottle + 0.5 * fine)
    side = np.maximum(np.cos(theta - traits.gradient_angle), 0)
    softness = 0.35 * traits.softness * (1 - traits.softness_contrast * side)
    cover = _sigmoid(depth / softness - 1)
    along = u * math.cos(traits.gradient_angle) + v * math.sin(traits.gradient_angle)
    pigment = traits.darkness + traits.variegation * (0.8 * mottle + 0.25 * fine)
    pigment += traits.gradient * along + 0.25 * np.clip(depth, 0, 1) - 0.1
    pigment += _draw_network(rng, frame, traits, mottle, warp)
    tone = min(1.0, (float(skin.mean()) / 185) ** 0.8)
    color = _mix(LIGHT_BROWN, DARK_BROWN, np.clip(pigment, 0, 1.25)) * tone
    for blotch in traits.blotches:
        distance = np.hypot(u - blotch.u, v - blotch.v) + 0.2 * mottle + 0.1 * warp
        mask = blotch.strength * _sigmoid((blotch.radius - distance) / 0.09)
        target = np.array(BLOTCH_COLORS[blotch.color], np.float32) * tone
        color += mask[..., None] * (target - color)
    opacity = cover * np.clip(0.72 + 0.35 * pigment, 0.4, 0.97)
    return skin + opacity[..., None] * (color - skin)


def _draw_network(
    rng: np.random.Generator, frame: Frame, traits: Traits, mottle: Array, warp: Array
) -> Array:
    """Darkness that the pigment network and the globules add, (h, w)."""
    added = np.zeros_like(mottle)
    wave = 2 * math.pi / rng.uniform(0.032, 0.05)
    angle = rng.uniform(0, math.pi)
    if traits.network > 0.15:
        bend = 0.006 + 0.016 * traits.network_disorder
        u, v = frame.u + bend * warp, frame.v + bend * mottle
        for turn in (angle, angle + math.pi / 3, angle + 2 * math.pi / 3):
            added -= np.cos((wave * math.cos(turn)) * u + (wave * math.sin(turn)) * v)
        patchy = np.clip(0.9 + (0.3 + traits.network_disorder) * mottle, 0, 2)
        added = (0.1 * traits.network) * patchy * (0.5 + added)
    for _ in range(traits.globules):
        radius = rng.uniform(0.008, 0.018)
        place, turn = traits.radius * 0.85 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        distance = np.square(frame.u - place * math.cos(turn))
        distance += np.square(frame.v - place * math.sin(turn))
        added += 0.4 * (distance < radius**2)
    return added


def _sigmoid(x: Array) -> Array:
    half = np.tanh(0.5 * x)
    return np.float32(0.5) + np.float32(0.5) * half


def _mix(first: tuple[int, ...], second: tuple[int, ...], weight: Array) -> Array:
    start, end = np.array(first, np.float32), np.array(second, np.float32)
    return start + weight[..., None] * (end - start)
