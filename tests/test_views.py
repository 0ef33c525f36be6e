import numpy as np
import pytest
import torch

from jepawm.errors import UserError
from jepawm.views import choose_views, split_views, stack_views

KNOWN = ("observation.images.front", "observation.images.wrist", "top")


def test_cameras_are_chosen_by_the_end_of_their_names_in_their_own_order():
    assert choose_views([], KNOWN, where="it") == (0, 1, 2)
    assert choose_views(["top", "front"], KNOWN, where="it") == (0, 2)
    assert choose_views(["a", "b"], ["a", "b"], where="it") == (0, 1)


@pytest.mark.parametrize("wanted", [["side"], ["t"], [""], ["observation"]])
def test_wrong_names_list_the_right_ones(wanted: list[str]):
    with pytest.raises(UserError, match=r"it has no camera .*choose among: .*front, .*wrist, top"):
        choose_views(wanted, KNOWN, where="it")


def test_a_camera_is_named_once():
    with pytest.raises(UserError, match="not different ones"):
        choose_views(["top", "top"], KNOWN, where="it")


def test_pictures_lie_one_below_the_other_and_come_apart_again():
    pictures = np.random.default_rng(0).integers(0, 256, (4, 2, 3, 5, 5), dtype=np.uint8)
    stacked = stack_views(pictures)
    assert stacked.shape == (4, 3, 10, 5)
    np.testing.assert_array_equal(stacked[:, :, 5:], pictures[:, 1])
    for at, view in enumerate(split_views(torch.from_numpy(stacked), 2)):
        np.testing.assert_array_equal(view.numpy(), pictures[:, at])
