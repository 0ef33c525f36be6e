"""The map from latents to texts: unit vectors, the mean of texts taken away, other models refused."""

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.text import HashedWords
from jepawm.models.text_head import TextHead, TextReader, text_shape
from jepawm.texts import TextHeadConfig
from jepawm.types import Latent

SMALL = TextHeadConfig(width=8, depth=1)


def latents(*batch: int, num_tokens: int = 1) -> Latent:
    return Latent(tokens=torch.randn(*batch, num_tokens, 4), proprio=torch.randn(*batch, 1, 2))


@pytest.mark.parametrize("num_tokens", [1, 3])
def test_latents_of_any_batch_lie_on_the_sphere(num_tokens: int):
    some = latents(2, 5, num_tokens=num_tokens)
    head = TextHead(SMALL, text_shape(some, text_dim=6))
    found = head(some)
    assert found.shape == (2, 5, 6)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 5))
    torch.testing.assert_close(head(some[1]), found[1])
    with pytest.raises(UserError, match="it belongs to another model"):
        head(Latent(tokens=torch.randn(2, num_tokens + 1, 4)))


def test_what_all_texts_share_is_taken_away():
    head = TextHead(SMALL, text_shape(latents(3), text_dim=2))
    texts = torch.tensor([[1.0, 0.1], [1.0, -0.1]])
    head.fit(latents(3), texts=texts, probe=torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(head.placed(texts), torch.tensor([[0.0, 1.0], [0.0, -1.0]]))


def test_a_reader_places_texts():
    head = TextHead(SMALL, text_shape(latents(3), text_dim=HashedWords.dim))
    reader = TextReader(head, HashedWords())
    torch.testing.assert_close(reader.embed(["the door"]), HashedWords().encode(["the door"]))
