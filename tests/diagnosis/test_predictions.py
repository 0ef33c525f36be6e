from jepawm.diagnosis.experience import Stretch
from jepawm.diagnosis.predictions import PredictionRules, measure_predictions
from jepawm.types import Latent

RULES = PredictionRules(num_stretches=6, num_steps=6, window=2, every=(1, 3), horizon=3)


def test_all_of_it_on_a_known_model(make_model, make_stretch):
    stretch = make_stretch(num_steps=RULES.length)
    found = measure_predictions(make_model(), [stretch[:3], stretch[3:]], rules=RULES)
    assert found.drift is not None
    assert [curve.every for curve in found.drift.curves["tokens"]] == [None, 1, 3]
    assert found.drift.steps_ahead_of_copying == 6
    assert all(step.model < 1e-9 for step in found.drift.curves["tokens"][0].steps)
    assert [step.k for step in found.actions] == [1, 2, 3]
    assert (found.latents.width, found.latents.share_over_time) == (2, 1.0)
    predicted = found.latents.predicted_straightness.difference
    assert -1.0 < predicted < 1.0


def test_collapsed_latents_have_no_drift(make_model, make_stretch):
    stretch = make_stretch(num_steps=RULES.length)
    still = Latent(tokens=0 * stretch.latents.tokens + 0.3)
    collapsed = Stretch(latents=still, actions=stretch.actions)
    found = measure_predictions(make_model(), [collapsed], rules=RULES)
    assert (found.drift, found.actions) == (None, ())
    assert found.latents.std == 0.0
