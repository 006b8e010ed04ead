"""The learning-rate range test of a config: what it leaves behind, and at which size it looks."""

import pandas as pd
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.errors import UserError
from tfskin.experiment import finding_rate


@pytest.fixture
def config(phantom_shards):
    keys = [*TINY, "model.image_size=64", f"data.shards={phantom_shards}"]
    return tfskin.read_config("five_layer_rgb.yaml", keys)


def test_an_image_and_a_table_are_left_and_no_run(tmp_path, config):
    report = finding_rate.find_rate(config, output=tmp_path / "rates", updates=12)
    assert [path.name for path in tmp_path.iterdir()] == ["rates"]
    assert sorted(path.name for path in (tmp_path / "rates").iterdir()) == [
        "five_layer_rgb.csv",
        "five_layer_rgb.png",
    ]
    table = pd.read_csv(report.table)
    assert list(table["learning_rate"]) == pytest.approx(list(report.found.rates))
    assert table["learning_rate"].is_monotonic_increasing
    assert table["learning_rate"].iloc[0] == pytest.approx(1e-6)


@pytest.mark.parametrize(("stages", "side", "rate"), [(1, 64, 0.5), (2, 32, 0.1)])
def test_images_and_dropout_are_those_of_the_first_stage(
    tmp_path, monkeypatch, config, stages, side, rate
):
    seen: dict[str, object] = {}

    def spy(model, make_epoch, **options):
        images, _ = next(iter(make_epoch(0)))
        drop = next(layer for layer in model.layers if "dropout" in layer.name)
        seen.update(images=images.shape[1:3], model=model.input_shape[1:3], rate=drop.rate)
        raise ValueError("seen")

    monkeypatch.setattr(finding_rate, "measure_rates", spy)
    keys = [f"train.progressive={{stages: {stages}, size: 0.5, dropout: 0.2}}", "model.dropout=0.5"]
    config = tfskin.config.change_config(config, keys, name="x", source="test")
    with pytest.raises(UserError, match="seen"):
        finding_rate.find_rate(config, output=tmp_path / "rates")
    assert seen == {"images": (side, side), "model": (side, side), "rate": pytest.approx(rate)}
