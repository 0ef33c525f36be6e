import torch

from jepawm.models.encoders import EncoderConfig
from jepawm.models.views import ViewsEncoder


def test_each_camera_has_its_own_encoder_and_tokens():
    config = EncoderConfig(dim=8, grid=2, image_size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        front, wrist = config.build().eval(), config.build().eval()
    both = ViewsEncoder({"front": front, "wrist": wrist}).eval()
    assert (both.num_tokens, both.grid, both.dim) == (8, (4, 2), 8)
    pixels = torch.randint(
        0, 256, (3, 3, 64, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    tokens = both(pixels)
    torch.testing.assert_close(tokens[:, :4], front(pixels[:, :, :32]))
    torch.testing.assert_close(tokens[:, 4:], wrist(pixels[:, :, 32:]))
