"""The problems themselves: their optima cost nothing, walls do."""

import torch

from jepawm.testing import Quadratic, WalledPointMass

MASS = WalledPointMass(
    start=torch.tensor([[-1.0, 0.0]]), goal=torch.tensor([[1.0, 0.0]]), door=torch.tensor([0.0])
)


def _straight(time_step: float = 0.5) -> torch.Tensor:
    """Accelerate for one step, coast, brake: 2 to the right in four steps."""
    pulse = 2.0 / (3 * time_step**2)
    return torch.tensor([[pulse, 0.0], [0.0, 0.0], [0.0, 0.0], [-pulse, 0.0]])[None, None]


def test_the_optimum_of_a_quadratic_costs_nothing():
    optimum = torch.randn(2, 3, 4)
    assert Quadratic(optimum=optimum)(optimum[:, None]).tolist() == [[0.0], [0.0]]


def test_a_path_through_the_door_costs_the_distance_to_the_goal():
    positions = MASS.positions(_straight())
    torch.testing.assert_close(positions[0, 0, -1], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(MASS(_straight()), torch.zeros(1, 1), atol=1e-9, rtol=0)
    torch.testing.assert_close(MASS(torch.zeros(1, 1, 4, 2)), torch.full((1, 1), 4.0))


def test_a_path_through_the_wall_pays_for_its_distance_to_the_door():
    shifted = WalledPointMass(start=MASS.start, goal=MASS.goal, door=torch.tensor([1.3]))
    torch.testing.assert_close(shifted(_straight()), torch.ones(1, 1), atol=1e-5, rtol=0)
