"""A robot's loop: pictures of its own camera in, single commands out.

What the import did to the pictures is done to these too: cropped or stretched to a square, and
resized. The agent itself takes observations that are ready, and gives actions in the form in which
its model takes them; here they become commands.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepawm.agent import PlanningAgent
from jepawm.commands import Commands
from jepawm.data.resample import Fit, require_frame, square_frame
from jepawm.errors import UserError
from jepawm.types import Observation
from jepawm.views import choose_views, stack_views

Joints = Sequence[float] | Float[np.ndarray, " P"]
"""The robot's own state, in the order and the units of the recordings."""
Pictures = UInt8[np.ndarray, "height width 3"] | Mapping[str, UInt8[np.ndarray, "_ _ 3"]]
"""What the camera sees, red first; of several cameras a picture by name."""
Command = Sequence[float] | Float[np.ndarray, " a"]
"""One command, in the order and the units of the recordings."""


class RobotLoop:
    """Plan for one robot: `reset(goal)`, then `act(picture, joints)` again and again."""

    def __init__(
        self,
        agent: PlanningAgent,
        *,
        image_size: int,
        fit: Fit | None,
        rate_hz: float | None = None,
        cameras: Sequence[str] = (),
    ) -> None:
        """Take the agent, the side of its pictures in pixels, and how they become square.

        Without a `fit` only pictures of the model's own size are taken. `rate_hz` is that of the
        recordings; None: nobody knows. `cameras` are the names of those that it sees.
        """
        self.cameras = tuple(cameras)
        self.rate_hz = rate_hz
        self._agent = agent
        self._size = image_size
        self._fit: Fit | None = fit
        self._goal: Observation | None = None
        self._last: Tensor | None = None

    @property
    def frameskip(self) -> int:
        """Return the commands of a block, which follow one another at the rate of the recordings."""
        return self._agent.protocol.frameskip

    @property
    def horizon(self) -> int:
        """Return the blocks of a plan."""
        return self._agent.protocol.horizon

    @property
    def commands(self) -> Commands | None:
        """Return what the columns of the commands say; None: an earlier checkpoint does not know."""
        return self._agent.normalizer.commands

    @property
    def width(self) -> int:
        """Return the width `a` of a command."""
        return self._agent.normalizer.action_dim

    def reset(
        self,
        goal: Pictures,
        joints: Joints | None = None,
        *,
        command: Command | None = None,
        num_steps: int | None = None,
    ) -> None:
        """Start an episode.

        Args:
            goal: picture of the goal, by the same camera; of several cameras a picture by name.
            joints: the robot's state at the goal, where the model knows proprioception.
            command: the command that the robot follows now; needed where the model takes differences
                of what its state does not show.
            num_steps: blocks of actions until the goal is to be reached; None: the protocol's.
        """
        self._goal = self._observation(goal, joints, what="goal")
        self._agent.reset(goal=self._goal, num_steps=num_steps)
        self._last = self._given(command)

    def act(
        self,
        picture: Pictures,
        joints: Joints | None = None,
        *,
        command: Command | None = None,
    ) -> Float[np.ndarray, "frameskip a"]:
        """Return the next commands `[frameskip, a]`, in the units of the recordings.

        Execute them one after the other at the rate of the recordings, then look and call again.

        Args:
            picture: what the camera sees now, uint8 `[height, width, 3]`, red first; of several
                cameras a picture by name.
            joints: the robot's state now, where the model knows proprioception.
            command: the last command that was executed, where it was another than the last one given.
        """
        obs = self._observation(picture, joints, what="picture")
        commands = self._commands(self._agent.act(obs), obs, before=self._given(command))
        self._last = commands[:, -1]
        return commands[0].cpu().numpy()

    def plan(
        self,
        picture: Pictures,
        joints: Joints | None = None,
        *,
        command: Command | None = None,
    ) -> Float[np.ndarray, "T a"]:
        """Return a whole plan from this moment alone, `T` = horizon x frameskip commands.

        Nothing of it counts as executed. Arguments are those of `act`.
        """
        if self._goal is None:
            raise UserError("there is no goal; call reset(goal) before plan(picture)")
        obs = self._observation(picture, joints, what="picture")
        self._agent.reset(goal=self._goal)
        self._agent.act(obs)
        plan = self._agent.last_plan
        assert plan is not None
        moves = self._agent.normalizer.unnormalize_action(plan.actions).flatten(1)
        return self._commands(moves, obs, before=self._given(command))[0].cpu().numpy()

    def _commands(self, moves: Tensor, obs: Observation, *, before: Tensor | None) -> Tensor:
        """Return moves `[1, T * a]` as commands `[1, T, a]`, float64."""
        told, proprio = moves.double().reshape(1, -1, self.width).cpu(), obs.proprio
        commands = self.commands
        if commands is None or commands.is_absolute:
            return told
        if proprio is None and "relative" in commands.forms:
            raise UserError(
                "the model takes commands relative to the robot's state; give its joints"
            )
        last = self._last if before is None else before
        last = commands.start(proprio, otherwise=None) if last is None else last
        return commands.to_commands(told, before=last, proprio=proprio, frameskip=self.frameskip)

    def _given(self, command: Command | None) -> Tensor | None:
        if command is None:
            return None
        values = np.asarray(command, dtype=np.float64).reshape(-1)
        if len(values) != self.width or not np.isfinite(values).all():
            raise UserError(
                f"the command has {len(values)} numbers; give the {self.width} finite ones of the last "
                "command that was executed"
            )
        return torch.from_numpy(values.copy())[None]

    def _observation(self, seen: object, joints: Joints | None, *, what: str) -> Observation:
        views = [self._square(one, what=name) for name, one in self._by_camera(seen, what=what)]
        proprio = None
        if joints is not None:
            proprio = torch.tensor(np.asarray(joints, dtype=np.float64).reshape(1, -1))
        return Observation(
            pixels=torch.from_numpy(stack_views(np.stack(views)))[None], proprio=proprio
        )

    def _by_camera(self, seen: object, *, what: str) -> list[tuple[str, object]]:
        """Return what each camera sees, in the order in which the model knows them, with its name."""
        known = ", ".join(self.cameras)
        if not isinstance(seen, Mapping):
            if len(self.cameras) > 1:
                raise UserError(
                    f"the {what} is one picture, and the model sees {known}; give a picture by the name "
                    "of each"
                )
            return [(what, seen)]
        if not self.cameras:
            raise UserError(f"nobody knows the model's camera; give the {what} without a name")
        places = {
            choose_views([str(name)], self.cameras, where="the model")[0]: name for name in seen
        }
        absent = [name for at, name in enumerate(self.cameras) if at not in places]
        if absent or len(places) < len(seen):
            raise UserError(
                f"the {what} has pictures of {', '.join(map(str, seen))}, and the model sees {known}; "
                "give one of each, or choose cameras=... when you make the loop"
            )
        names = [places[at] for at in range(len(self.cameras))]
        return [(f"{what} of {name}", seen[name]) for name in names]

    def _square(self, picture: object, *, what: str) -> UInt8[np.ndarray, "3 size size"]:
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            given = (
                f"{picture.dtype} {picture.shape}"
                if isinstance(picture, np.ndarray)
                else type(picture).__name__
            )
            raise UserError(
                f"the {what} is {given}; give what the camera saw as a NumPy array, uint8 "
                "[height, width, 3], levels 0 to 255 (fractions of 1: (255 * x).round())"
            )
        if picture.shape[2] != 3:
            raise UserError(
                f"the {what} is {picture.shape}; give [height, width, 3]: channels last, without a "
                "fourth"
            )
        require_frame(picture)
        if self._fit is None and picture.shape[:2] != (self._size, self._size):
            raise UserError(
                f"the {what} is {picture.shape[1]} x {picture.shape[0]}, and the checkpoint does not "
                f"say how its data became {self._size} x {self._size}; give fit='crop' or "
                "fit='stretch', as the import did"
            )
        fit: Fit = self._fit or "crop"
        return square_frame(picture, self._size, fit=fit)
