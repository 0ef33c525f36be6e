"""Random behaviour that keeps its direction for a while."""

import numpy as np
from jaxtyping import Float


def persistent(
    noise: Float[np.ndarray, "E T a"], persistence: Float[np.ndarray, "*#E 1"]
) -> Float[np.ndarray, "E T a"]:
    """Correlate standard normal noise in time; it stays standard normal at each step.

    `persistence` is the correlation of neighbouring steps, for each episode: 0 is what a planner
    draws, near 1 goes straight.
    """
    actions = np.empty_like(noise)
    actions[:, 0] = noise[:, 0]
    fresh = np.sqrt(1 - persistence**2)
    for step in range(1, noise.shape[1]):
        actions[:, step] = persistence * actions[:, step - 1] + fresh * noise[:, step]
    return actions
