"""Random views: crops of known boxes, and what recolouring keeps."""

import torch

from jepawm.training.pretraining.views import crop, random_boxes, random_views, recolor


def ramp(size: int = 8) -> torch.Tensor:
    """Return an image whose red tells the column, green the row and blue neither."""
    steps = torch.arange(size, dtype=torch.float32)
    return torch.stack(
        [steps.expand(size, size), steps[:, None].expand(size, size), torch.ones(size, size)]
    )[None]


def test_the_box_of_the_whole_image_leaves_it_and_a_negative_one_mirrors():
    image = ramp()
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(crop(image, 8, boxes=whole), image)
    mirrored = whole * torch.tensor([1.0, 1.0, -1.0, 1.0])
    torch.testing.assert_close(crop(image, 8, boxes=mirrored), image.flip(-1))


def test_a_box_is_cut_out_and_resized():
    corner = torch.tensor([[0.5, -0.5, 0.5, 0.5]])  # the upper right quarter
    torch.testing.assert_close(crop(ramp(), 4, boxes=corner), ramp()[..., :4, 4:])
    half = crop(ramp(), 4, boxes=torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    torch.testing.assert_close(half[0, 0, 0], torch.tensor([0.5, 2.5, 4.5, 6.5]))


def test_boxes_lie_in_the_image_and_have_the_area_that_was_asked_for():
    boxes = random_boxes(500, areas=(0.1, 0.3), generator=torch.Generator().manual_seed(0))
    centre, half = boxes[:, :2], boxes[:, 2:].abs()
    assert bool((centre.abs() + half <= 1 + 1e-6).all())
    area = half.prod(1)
    assert area.min() + 1e-6 >= 0.1
    assert area.max() <= 0.3 + 1e-6
    assert 0.4 < (boxes[:, 2] < 0).float().mean() < 0.6
    assert half[:, 0].div(half[:, 1]).max() <= 4 / 3 + 1e-5


def test_recolouring_stays_in_range_and_takes_the_colour_of_some():
    images = torch.rand(300, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    seen = recolor(images, generator=torch.Generator().manual_seed(0))
    assert seen.abs().max() <= 1
    grey = (seen.std(1) < 1e-6).all((1, 2)).float().mean()
    assert 0.05 < grey < 0.2
    assert not torch.equal(seen, images)


def test_views_depend_on_the_generator_alone():
    def draw() -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return random_views(ramp() / 8, 6, areas=(0.2, 1.0), generator=generator)

    assert draw().shape == (1, 3, 6, 6)
    assert torch.equal(draw(), draw())
