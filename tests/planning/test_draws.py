"""What is drawn for a problem depends on its generator alone."""

import torch

from jepawm.planning.draws import ProblemGenerators, draw_normal, draw_seeds, of_problems


def test_a_problem_draws_the_same_beside_others_and_alone():
    together = draw_normal((3, 5, 2), generator=ProblemGenerators.seeded([7, 8, 9]))
    for number, seed in enumerate([7, 8, 9]):
        alone = draw_normal((1, 5, 2), generator=ProblemGenerators.seeded([seed]))
        torch.testing.assert_close(together[number], alone[0], rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


def test_some_problems_go_on_where_they_were():
    whole, parts = ProblemGenerators.seeded([7, 8, 9]), ProblemGenerators.seeded([7, 8, 9])
    first = draw_normal((3, 4), generator=whole)
    second = draw_normal((3, 4), generator=whole)
    torch.testing.assert_close(draw_normal((3, 4), generator=parts), first, rtol=0, atol=0)
    some = of_problems(parts, torch.tensor([2, 0]))
    drawn = draw_normal((2, 4), generator=some)
    torch.testing.assert_close(drawn, second[[2, 0]], rtol=0, atol=0)
    rest = of_problems(parts, torch.tensor([1]))
    torch.testing.assert_close(draw_normal((1, 4), generator=rest)[0], second[1], rtol=0, atol=0)


def test_seeds_of_problems_are_their_own():
    both = draw_seeds(2, generator=ProblemGenerators.seeded([3, 4]))
    assert both[1:] == draw_seeds(1, generator=ProblemGenerators.seeded([4]))
    assert all(0 <= seed < 2**31 for seed in both)


def test_a_plain_generator_draws_for_all():
    drawn = draw_normal((3, 2), generator=torch.Generator().manual_seed(1))
    wanted = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, wanted, rtol=0, atol=0)
    plain = torch.Generator().manual_seed(1)
    assert of_problems(plain, torch.tensor([0])) is plain


def test_another_number_of_problems_and_planners_that_know_nothing_draw_from_the_common_one():
    found = draw_normal((3, 2), generator=ProblemGenerators.seeded([5, 6]))
    wanted = torch.randn(3, 2, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    own = torch.randn(3, 2, generator=ProblemGenerators.seeded([5, 6]))
    torch.testing.assert_close(own, wanted, rtol=0, atol=0)
