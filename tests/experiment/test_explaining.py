"""Images are explained, one PNG each, and a class that there is not is named."""

import numpy as np
import pytest

import tfskin
from tfskin.errors import UserError


def test_images_are_explained(tmp_path, tiny_runs):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "lesion.png")
    table = tfskin.explain(
        tiny_runs[0], [tmp_path / "lesion.png"], output=tmp_path / "seen",
        explained_class="nevus",
    )  # fmt: skip
    (row,) = table.to_dict("records")
    assert row["explained"] == "nevus"
    with Image.open(row["picture"]) as image:
        assert image.width > image.height > 100
    predicted = tfskin.predict(tiny_runs[0], [tmp_path / "lesion.png"])
    assert row["predicted"] == predicted["predicted"][0]
    assert row["probability"] == pytest.approx(predicted["probability"][0], abs=1e-4)
    with pytest.raises(UserError, match="did you mean 'nevus'"):
        tfskin.explain(tiny_runs[0], [tmp_path / "lesion.png"], explained_class="nevsu")
