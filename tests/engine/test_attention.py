"""Keys and values in parts, and few of them, are attended to as joined ones are."""

import pytest
import torch

from jepawm.engine.attention import attend_parts, attend_to_few
from jepawm.models.blocks import attend


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", [(1, 1, 1), (1,), (2, 1, 3)])
@pytest.mark.parametrize("asking", [1, 4])
def test_keys_and_values_may_lie_in_parts(tokens, asking):
    query = 2 * randn(5, asking, 3, 8)
    keys = [randn(5, count, 3, 8, seed=index + 1) for index, count in enumerate(tokens)]
    values = [randn(5, count, 3, 8, seed=index + 9) for index, count in enumerate(tokens)]
    expected = attend(query, torch.cat(keys, dim=1), torch.cat(values, dim=1))
    torch.testing.assert_close(attend_parts(query, keys, values, split=False), expected)


def test_a_few_keys_are_seen_from_the_last_windows():
    query = randn(3, 5, 1, 3, 8)
    counts = (1, 2, 3)  # windows that see each key
    keys = [randn(count, 5, 1, 3, 8, seed=count) for count in counts]
    values = [randn(count, 5, 1, 3, 8, seed=10 + count) for count in counts]
    got = attend_to_few(query, keys, values, split=False)
    for back in (1, 2, 3):  # windows, counted from the last
        seen = [index for index, count in enumerate(counts) if count >= back]
        expected = attend_parts(
            query[-back],
            [keys[i][-back] for i in seen],
            [values[i][-back] for i in seen],
            split=False,
        )
        torch.testing.assert_close(got[-back], expected)
