from dataclasses import replace

from tests.datasets.tiny import make_records, write_tiny
from tfskin.experiment.exporting import read_facts, read_graph_options
from tfskin.files import write_json
from tfskin.inputs import read_labels
from tfskin.runs import Run
from tfskin.serving.model_card import write_licenses


def test_what_an_export_says_of_its_images_holds_for_those_that_were_used(tmp_path):
    records = make_records(tmp_path / "images", 48)
    records["license"] = ["CC-0", "CC-BY", ""] * 16
    records["hair"] = [0, 0, 1, 1] * 12
    classes = {"bad": ["mel"], "good": ["nv"]}  # bcc is left out
    shards = replace(write_tiny(records, tmp_path / "shards"), exclude=("hair",))
    run = Run(tmp_path / "run")
    inputs = {"shards": str(shards.folder), "fingerprint": "0", "classes": classes}
    write_json(run.folder / "inputs.json", inputs | {"image_size": [8, 8], "resize": "squash"})
    write_json(run.folder / "class_names.json", list(classes))
    facts = read_facts(run, shards)
    used = set(read_labels(shards, "train", classes)["image_id"])
    assert 3 <= len(used) < facts.images["train"] < sum(shards.counts["train"].values())
    counts = records[records["image_id"].isin(used)]["license"].value_counts()
    assert facts.licenses == counts.to_dict()
    write_licenses(tmp_path / "LICENSES.md", facts, [])
    text = (tmp_path / "LICENSES.md").read_text("utf-8")
    for name, count in counts.items():
        assert f"- {name or 'unknown'}: {count} images\n" in text


def test_members_of_one_name_are_named_by_their_folders(tmp_path):
    run = Run(tmp_path)
    inputs = {"shards": "gone", "fingerprint": "0", "classes": None}
    write_json(run.folder / "inputs.json", inputs | {"image_size": [8, 8], "resize": "squash"})
    write_json(run.folder / "class_names.json", ["mel", "nv"])
    run.model_path.touch()
    folders = ["runs/a/fold0", "runs/b/fold0"]
    members = [{"name": "fold0", "folder": folder} for folder in folders]
    write_json(run.folder / "metrics.json", {"splits": {}, "model": {}, "members": members})
    assert list(read_graph_options(run).member_names) == folders
