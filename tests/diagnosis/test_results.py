import json
from pathlib import Path

import pytest

from jepawm.diagnosis.landscape import Landscape
from jepawm.diagnosis.predictions import PredictionRules, measure_predictions
from jepawm.diagnosis.results import Diagnosis, read_diagnosis
from jepawm.errors import UserError


@pytest.fixture
def diagnosis(make_model, make_stretch) -> Diagnosis:
    """Return a diagnosis with most parts."""
    rules = PredictionRules(num_stretches=6, num_steps=4, window=1, every=(2,), horizon=2)
    found = measure_predictions(make_model(0.2), [make_stretch(num_steps=4)], rules=rules)
    landscape = Landscape(
        directions=(0, 1),
        values=(-1.0, 1.0),
        cost=((1.0, 2.0), (3.0, 4.0)),
        distance=None,
        correlation=None,
        lowest=(-1.0, -1.0),
        nearest=None,
    )
    return Diagnosis(
        source="wall",
        env="wall",
        step=None,
        behaviour="random",
        split="val",
        seed=0,
        frameskip=5,
        horizon=2,
        drift=found.drift,
        actions=found.actions,
        latents=found.latents,
        landscapes=(landscape,),
        left_out={"failures": "no simulator"},
        versions={"torch": "2"},
    )


def test_to_json_and_back(diagnosis: Diagnosis, tmp_path: Path):
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps(diagnosis.to_json(), allow_nan=False))
    assert read_diagnosis(path) == diagnosis


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("seed", "0", "no int @"),
        ("drift", [], "drift"),
        ("drift", {"stretches": 1, "window": 1, "curves": {"tokens": []}}, "steps_ahead"),
        ("landscapes", [{"values": [0.0, 1.0]}], "missing"),
        ("left_out", None, "left_out"),
        ("surprise", 1, "surprise"),
    ],
)
def test_a_file_of_another_content_is_refused(
    diagnosis: Diagnosis, tmp_path: Path, name: str, value: object, complaint: str
):
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps(diagnosis.to_json() | {name: value}))
    with pytest.raises(UserError, match=complaint) as caught:
        read_diagnosis(path)
    assert "jepawm diagnose" in str(caught.value)


def test_shapes_of_a_file_are_checked(diagnosis: Diagnosis, tmp_path: Path):
    content = json.loads(json.dumps(diagnosis.to_json()))
    content["landscapes"][0]["cost"] = [[1.0, 2.0]]
    path = tmp_path / "diagnosis.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not 2 x 2"):
        read_diagnosis(path)
    content["landscapes"] = []
    content["drift"]["curves"]["tokens"][0]["steps"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no steps"):
        read_diagnosis(path)


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"source": NaN}'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "diagnosis.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"diagnosis\.json"):
        read_diagnosis(path)
