"""`--encoder FAMILY`."""

import pytest

from jepawm.cli.choices import new_part
from jepawm.cli.train import prepare_train
from jepawm.errors import UserError
from jepawm.models import ENCODERS
from jepawm.models.encoders import EncoderConfig
from jepawm.models.frozen.encoder import FrozenEncoderConfig, TimmEncoderConfig


def test_encoders_have_names_and_frozen_ones_see_16_by_16_patches():
    expected = {
        "conv": EncoderConfig(),
        "vit": EncoderConfig(family="vit"),
        "dinov2": FrozenEncoderConfig(size="S", image_size=224),
        "dinov2_reg": FrozenEncoderConfig(family="dinov2_reg", size="S", image_size=224),
        "dinov3": FrozenEncoderConfig(family="dinov3", size="S", image_size=256),
        "vjepa": FrozenEncoderConfig(family="vjepa", size="L", image_size=256),
        "vjepa2": FrozenEncoderConfig(family="vjepa2", size="L", image_size=256),
    }
    assert {name: new_part(ENCODERS, name) for name in expected} == expected
    others = ["class_token", "efficientnet_lite0", "random", "small_vit", "timm:NAME"]
    assert ENCODERS.names() == sorted([*expected, *others])
    assert new_part(ENCODERS, "timm:vit_tiny") == TimmEncoderConfig(model="vit_tiny")
    with pytest.raises(
        UserError, match=r"unknown encoder 'dino'.*known: class_token, conv, dinov2"
    ):
        new_part(ENCODERS, "dino")


def test_the_command_line_sets_fields_of_the_encoder_that_it_names(monkeypatch, capsys):
    runs = []

    def stop(experiment, **_):
        runs.append(experiment)
        raise UserError("stopped")

    monkeypatch.setattr("jepawm.runs.train_run", stop)
    chosen = ["--encoder", "dinov3", "--encoder.size", "B", "--encoder.weights", "random:2"]
    with pytest.raises(UserError, match="stopped"):
        prepare_train(["wall", *chosen]).run()
    expected = FrozenEncoderConfig(family="dinov3", size="B", image_size=256, weights="random:2")
    assert runs[0].encoder == expected
    assert (runs[0].loss.regularizer, runs[0].loss.inverse_dynamics_weight) == ("none", 0.0)
    with pytest.raises(SystemExit):
        prepare_train(["wall", "--encoder", "dinov3", "--encoder.batch-norm", "True"])
    assert "batch-norm" in capsys.readouterr().err
