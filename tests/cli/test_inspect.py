"""Listing everything that has a name."""

from jepawm.cli.inspect import list_all


def test_everything_that_has_a_name_is_listed():
    listed = vars(list_all())
    assert {name: set(listed[name]) >= known for name, known in KNOWN.items()} == dict.fromkeys(
        KNOWN, True
    )
    assert listed.keys() == {*KNOWN, "checkpoints", "released", "released_decoders"}


KNOWN = {
    "recipes": {"wall"},
    "environments": {"wall"},
    "collection_policies": {"wall"},
    "encoders": {"conv", "dinov2"},
    "objectives": {"latent_distance"},
    "planners": {"cem", "random_shooting"},
    "protocols": {"paper", "mpc"},
    "data_formats": {"lerobot", "npz"},
    "export_formats": {"lerobot", "npz"},
}
