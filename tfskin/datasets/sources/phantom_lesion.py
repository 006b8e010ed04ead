"""Drawing of one dermoscopic phantom: skin and lesion, after the ABCD rule."""

from __future__ import annotations

from dataclasses import dataclass, field

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
LIGHT_BROWN = (168, 112, 76)
DARK_BROWN = (92, 56, 40)
# The other colours that the ABCD rule counts.
BLOTCH_COLORS = {
    "black": (38, 28, 30),
    "red": (178, 84, 82),
    "blue_grey": (92, 104, 130),
    "white": (226, 206, 200),
    "dark_brown": (72, 42, 32),
}
_ANGLES = 512


@dataclass(frozen=True)
class Traits:
    """What one lesion looks like from every side; lengths are in picture heights."""

    seed: int
    radius: float
    aspect: float
    outline: Array  # radius factor at 512 angles
    softness: float  # width of the border's gradient, as a fraction of the radius
    softness_contrast: float  # how much sharper one side's border is
    darkness: float
    variegation: float
    gradient: float
    gradient_angle: float
    network: float
    network_disorder: float
    globules: int
    blotches: list[tuple[str, float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """How one picture of a lesion was taken."""

    angle: float
    mirrored: bool
    zoom: float
    shift: tuple[float, float]
    gains: tuple[float, float, float]
    light: tuple[float, float]
    blur: float
    noise: float
    seed: int


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
        softness=float(0.16 * np.exp(-0.3 * border + rng.normal(0, 0.3))),
        softness_contrast=float(np.clip(0.25 + 0.2 * border, 0, 0.85)),
        darkness=float(np.clip(0.42 + 0.1 * color + rng.normal(0, 0.17), 0.05, 0.95)),
        variegation=float(np.clip(0.2 * np.exp(0.45 * color + rng.normal(0, 0.25)), 0.05, 0.8)),
        gradient=float(0.14 * np.exp(0.4 * asymmetry + rng.normal(0, 0.25))),
        gradient_angle=float(rng.uniform(0, 2 * np.pi)),
        network=float(np.clip(rng.normal(0.5, 0.3), 0, 1)),
        network_disorder=float(np.clip(0.35 * np.exp(0.6 * structure), 0.05, 1.6)),
        globules=int(rng.poisson(5) if rng.random() < 0.45 else 0),
        blotches=[_draw_blotch(rng) for _ in range(blotches)],
    )


def _draw_blotch(rng: np.random.Generator) -> tuple[str, float, float, float]:
    name = str(rng.choice(list(BLOTCH_COLORS), p=(0.22, 0.22, 0.2, 0.16, 0.2)))
    angle, distance = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.random())
    size = rng.uniform(0.2, 0.5)
    return name, float(distance * np.cos(angle)), float(distance * np.sin(angle)), float(size)


def _draw_outline(rng: np.random.Generator, asymmetry: float, border: float) -> Array:
    theta = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    outline = np.ones(_ANGLES)
    for k in range(2, 17):
        if k <= 3:
            scale = 0.05 * np.exp(0.55 * asymmetry)
        else:
            scale = 0.055 * np.exp(0.6 * border) / k**0.9
        outline += scale * rng.standard_normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    for _ in range(int(rng.poisson(min(0.5 * np.exp(0.8 * border), 5.0)))):
        offset = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        outline -= rng.uniform(0.1, 0.3) * np.exp(-((offset / rng.uniform(0.1, 0.25)) ** 2))
    if rng.random() < 0.25 + 0.12 * border:  # streaks along a sector
        offset = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        spikes = np.abs(np.cos(rng.integers(14, 22) * theta)) ** 3
        outline += 0.13 * spikes * np.exp(-((offset / rng.uniform(0.4, 0.9)) ** 2))
    return np.clip(outline, 0.35, 1.8).astype(np.float32)


class Frame:
    """The pixel grid of one view, and noise that is fixed to the lesion.

    Attributes:
        u, v: coordinates of each pixel on the skin, (h, w), in picture heights, 0 at the lesion.
    """

    def __init__(self, view: View, image_size: tuple[int, int]):
        height, width = image_size
        cos, sin = np.cos(view.angle) / view.zoom, np.sin(view.angle) / view.zoom
        flip = -1.0 if view.mirrored else 1.0
        # (u, v) = matrix @ (x, y) + offset, with x and y in pixels.
        self._matrix = np.array([[flip * cos, -flip * sin], [sin, cos]]) / height
        centre = np.array([width / 2 + view.shift[0] * height, height / 2 + view.shift[1] * height])
        self._offset = -self._matrix @ centre
        self._size = (width, height)
        x = np.arange(width, dtype=np.float32) + 0.5
        y = (np.arange(height, dtype=np.float32) + 0.5)[:, None]
        (a, b), (c, d) = self._matrix.astype(np.float32)
        self.u = a * x + b * y + np.float32(self._offset[0])
        self.v = c * x + d * y + np.float32(self._offset[1])

    def noise(self, rng: np.random.Generator, cells: float) -> Array:
        """Smooth noise of unit deviation, (h, w), with ``cells`` waves a picture height."""
        reach = 1.6  # the grid covers -1.6..1.6 picture heights, more than any view shows
        side = max(4, round(2 * reach * cells))
        grid = Image.fromarray(rng.standard_normal((side, side), dtype=np.float32))
        scale = side / (2 * reach)
        (a, b), (c, d) = self._matrix * scale
        e, f = (self._offset + reach) * scale
        warped = grid.transform(
            self._size, Image.Transform.AFFINE, (a, b, e, c, d, f), Image.Resampling.BICUBIC
        )
        return np.asarray(warped)

    def to_pixels(self, u: float, v: float) -> tuple[float, float]:
        """Where a point on the skin is in the picture: x, y in pixels."""
        x, y = np.linalg.solve(self._matrix, np.array([u, v]) - self._offset)
        return float(x), float(y)


def draw_skin(rng: np.random.Generator, frame: Frame, skin_type: str) -> Array:
    """Lit skin, (h, w, 3) float32 in 0..255: tone, blotches, furrows, faint vessels."""
    tone = np.array(SKIN_COLORS[skin_type], np.float32)
    tone *= 1 + np.float32(0.05) * rng.standard_normal(3, dtype=np.float32)
    broad = frame.noise(rng, 2.5)
    furrows = np.abs(frame.noise(rng, 14))
    fine = frame.noise(rng, 45)
    vessels = np.exp(-np.square(frame.noise(rng, 5) * 14)) * (broad > 0.2)
    shade = 1 + 0.035 * broad + 0.02 * fine + 0.05 * np.minimum(furrows, 0.5) - 0.02
    skin = shade[..., None] * tone
    redness = (0.03 * broad + 0.10 * vessels)[..., None]
    skin *= 1 - redness * np.array([0.2, 1.0, 0.8], np.float32)
    return skin.astype(np.float32)


def draw_lesion(skin: Array, frame: Frame, traits: Traits) -> Array:
    """The picture with the lesion on the skin, (h, w, 3) float32 in 0..255."""
    rng = np.random.default_rng(traits.seed)
    warp, mottle, fine = (frame.noise(rng, cells) for cells in (9, 4.5, 26))
    u = frame.u / (traits.radius * np.float32(np.sqrt(traits.aspect)))
    v = frame.v / (traits.radius / np.float32(np.sqrt(traits.aspect)))
    theta = np.arctan2(v, u)
    index = (theta * np.float32(_ANGLES / (2 * np.pi))).astype(np.int32) % _ANGLES
    depth = 1 - np.hypot(u, v) / traits.outline[index] + 0.035 * warp
    side = np.cos(theta - np.float32(traits.gradient_angle))
    softness = traits.softness * (1 - traits.softness_contrast * np.maximum(side, 0))
    cover = _sigmoid((depth - 0.35 * softness) / (0.35 * softness))
    along = u * np.cos(traits.gradient_angle) + v * np.sin(traits.gradient_angle)
    pigment = traits.darkness + traits.variegation * (0.8 * mottle + 0.25 * fine)
    pigment += traits.gradient * along + 0.25 * np.clip(depth, 0, 1) - 0.1
    pigment += _draw_network(rng, frame, traits, mottle, warp)
    tone = np.float32(min(1.0, (float(skin.mean()) / 185) ** 0.8))
    color = _mix(LIGHT_BROWN, DARK_BROWN, np.clip(pigment, 0, 1.25)[..., None]) * tone
    for name, du, dv, size in traits.blotches:
        distance = np.hypot(u - du, v - dv) + 0.16 * mottle + 0.08 * warp
        mask = 0.85 * _sigmoid((size - distance) / np.float32(0.07))
        target = np.array(BLOTCH_COLORS[name], np.float32) * tone
        color += mask[..., None] * (target - color)
    opacity = (cover * np.clip(0.72 + 0.35 * pigment, 0.4, 0.97))[..., None]
    return skin + opacity * (color - skin)


def _draw_network(
    rng: np.random.Generator, frame: Frame, traits: Traits, mottle: Array, warp: Array
) -> Array:
    """Darkness that the pigment network and the globules add, (h, w)."""
    added = np.zeros_like(mottle)
    period = rng.uniform(0.032, 0.05)
    angle = rng.uniform(0, np.pi)
    if traits.network > 0.15:
        bend = np.float32(0.02 * traits.network_disorder)
        u, v = frame.u + bend * warp, frame.v + bend * mottle
        lattice = np.zeros_like(mottle)
        for k in range(3):
            turn = angle + k * np.pi / 3
            wave = np.float32(2 * np.pi / period)
            lattice += np.cos(wave * (np.float32(np.cos(turn)) * u + np.float32(np.sin(turn)) * v))
        patchy = np.clip(1 + traits.network_disorder * mottle, 0, 2)
        added += traits.network * 0.11 * patchy * (0.5 - lattice)
    for _ in range(traits.globules):
        radius = rng.uniform(0.008, 0.02)
        place, turn = traits.radius * 0.85 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        u, v = place * np.cos(turn), place * np.sin(turn)
        distance = np.square(frame.u - np.float32(u)) + np.square(frame.v - np.float32(v))
        added += 0.45 * (distance < radius**2)
    return added


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(np.clip(-x, -30, 30)))


def _mix(first: tuple[int, ...], second: tuple[int, ...], weight: Array) -> Array:
    start, end = np.array(first, np.float32), np.array(second, np.float32)
    return start + weight * (end - start)
