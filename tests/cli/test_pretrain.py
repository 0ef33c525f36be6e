"""The verb `pretrain`: its methods and its help."""

from jepawm.cli.pretrain import _METHODS, prepare_pretrain
from jepawm.training.pretraining.settings import METHODS


def test_the_methods_of_the_help_are_all_methods():
    assert tuple(METHODS) == _METHODS


def test_help_names_the_methods(capsys):
    outcome = prepare_pretrain(["--help"]).run()
    assert "jepawm pretrain dino|vjepa STORE --out DIR" in outcome.text
