"""One Metaworld task as pure functions of a scene, an exact state and an action.

The dynamics, the observation and the success flag are those of the `metaworld` package, called as
it stands. A state is what MuJoCo needs to continue bit for bit: time, joint positions and velocities,
the solver's warm start, the controls, and the mocap body that the hand is welded to. The other
parts of mjSTATE_INTEGRATION (applied forces, switched constraints) never change in Metaworld.
"""

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from jaxtyping import Float

from jepawm.envs.mujoco_engine import import_mujoco
from jepawm.errors import UserError, missing_extra

ACTION_DIM = 4
_SUFFIX = "-v3"
_MACHINERY = ("model", "data", "mujoco_renderer")  # of one simulator, never part of a scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Where the objects of one episode are placed; made by `MetaworldSimulator.arrange`."""

    layout: Float[np.ndarray, " R"]
    """The numbers that Metaworld draws for an episode: places of object and goal."""
    start: Float[np.ndarray, " S"]
    """State after the reset."""
    body_pos: Float[np.ndarray, "bodies 3"]
    """Places of the model's bodies, of which the reset moves some."""
    site_pos: Float[np.ndarray, "sites 3"]
    """Places of the model's sites, of which the reset moves the goal's."""
    attributes: Mapping[str, object]
    """What the reset left in the Metaworld object, for its reward and success."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """One instant of an episode."""

    state: Float[np.ndarray, " S"]
    """Exact state."""
    obs: Float[np.ndarray, " 39"]
    """Metaworld's observation; the first four are hand x, y, z (m) and gripper opening (0 to 1).

    Entries 18 to 35, in Metaworld the previous instant, are left from the reset."""
    success: bool
    """Metaworld's flag."""
    distance: float
    """Metaworld's `obj_to_target`, in metres: for reach from between the fingers to the goal."""


class MetaworldSimulator:
    """Step, look at and arrange one Metaworld task; the result depends on the arguments alone."""

    def __init__(self, task: str) -> None:
        """Build the task, for example `reach-wall`."""
        self.task = task
        self._engine = engine = import_mujoco("Metaworld", extra="metaworld")
        tasks = metaworld_tasks()
        if task not in tasks:
            raise UserError(f"Metaworld has no task {task!r} (known: {', '.join(tasks)})")
        table = importlib.import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        name = task + _SUFFIX
        self._env = table[f"{name}-goal-observable"](seed=0)
        self._env.seeded_rand_vec = True
        policies = importlib.import_module("metaworld.policies")
        self._policy = policies.ENV_POLICY_MAP[name]()
        self.model = self._env.model
        self.data = self._env.data
        kinds = engine.mjtState
        parts = (
            kinds.mjSTATE_FULLPHYSICS,
            kinds.mjSTATE_WARMSTART,
            kinds.mjSTATE_CTRL,
            kinds.mjSTATE_MOCAP_POS,
            kinds.mjSTATE_MOCAP_QUAT,
        )
        self._state_parts = sum(part.value for part in parts)  # distinct bits
        self.state_dim: int = engine.mj_stateSize(self.model, self._state_parts)
        self.layout_dim: int = self._env._random_reset_space.low.size  # noqa: SLF001
        self._untouched = self._snapshot(np.zeros(self.layout_dim))

    def draw_layout(self, seed: int) -> Float[np.ndarray, " R"]:
        """Draw the layout that Metaworld itself draws after `seed`."""
        self._apply(self._untouched)
        self._env.seed(seed)
        self._env._freeze_rand_vec = False  # noqa: SLF001
        self._env.reset()
        return np.array(self._env._last_rand_vec, dtype=np.float64)  # noqa: SLF001

    def arrange(self, layout: Float[np.ndarray, " R"]) -> Scene:
        """Reset the task with a layout that `draw_layout` returned."""
        self._apply(self._untouched)
        self._env._freeze_rand_vec = True  # noqa: SLF001
        self._env._last_rand_vec = layout.copy()  # noqa: SLF001
        self._env.reset()
        return self._snapshot(layout)

    def step(
        self, scene: Scene, state: Float[np.ndarray, " S"], *, action: Float[np.ndarray, " 4"]
    ) -> Moment:
        """Apply one action: hand x, y, z (clipped to 1, 1 cm each) and the closing of the gripper."""
        self.pose(scene, state)
        obs, _, _, _, info = self._env.step(action)
        return self._moment(self._state(), obs, info)

    def observe(self, scene: Scene, state: Float[np.ndarray, " S"]) -> Moment:
        """Look at a state without stepping."""
        self.pose(scene, state)
        self._engine.mj_forward(self.model, self.data)
        space = self._env.sawyer_observation_space
        obs = self._env._get_obs().clip(space.low, space.high)  # noqa: SLF001
        _, info = self._env.evaluate_state(obs, np.zeros(ACTION_DIM))
        return self._moment(state.copy(), obs, info)

    def simulate(
        self, scene: Scene, state: Float[np.ndarray, " S"], *, actions: Float[np.ndarray, "T 4"]
    ) -> Float[np.ndarray, "T S"]:
        """Return the states `[T, S]` that actions lead to: those of `step`, without rewards."""
        self.pose(scene, state)
        states = np.empty((len(actions), self.state_dim))
        for t, action in enumerate(actions):
            self._env.set_xyz_action(action[:3])
            self.data.ctrl[:] = action[3], -action[3]
            self._engine.mj_step(self.model, self.data, nstep=self._env.frame_skip)
            self._engine.mj_forward(self.model, self.data)  # as in step: changes the warm start
            self._engine.mj_getState(self.model, self.data, states[t], self._state_parts)
        return states

    def expert(
        self, scene: Scene, *, noise: Float[np.ndarray, "T 4"]
    ) -> tuple[Float[np.ndarray, "T 4"], Moment]:
        """Run the scripted expert from the reset with noise on its actions.

        Returns the actions `[T, 4]`, clipped to plus and minus 1, and the last moment.
        """
        moment = self.observe(scene, scene.start)
        actions = np.empty_like(noise)
        for t in range(len(noise)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the experts' own: that their actions are clipped
                wanted = self._policy.get_action(moment.obs)
            actions[t] = (wanted + noise[t]).clip(-1.0, 1.0)
            moment = self.step(scene, moment.state, action=actions[t])
        return actions, moment

    def pose(self, scene: Scene, state: Float[np.ndarray, " S"]) -> None:
        """Put scene and state into `model` and `data`; nothing is computed from them yet."""
        self._apply(scene)
        self._engine.mj_setState(self.model, self.data, state, self._state_parts)

    def _apply(self, scene: Scene) -> None:
        vars(self._env).update(scene.attributes)
        self.model.body_pos[:] = scene.body_pos
        self.model.site_pos[:] = scene.site_pos

    def _snapshot(self, layout: Float[np.ndarray, " R"]) -> Scene:
        return Scene(
            layout=layout.copy(),
            start=self._state(),
            body_pos=self.model.body_pos.copy(),
            site_pos=self.model.site_pos.copy(),
            attributes={k: v for k, v in vars(self._env).items() if k not in _MACHINERY},
        )

    def _state(self) -> Float[np.ndarray, " S"]:
        state = np.empty(self.state_dim)
        self._engine.mj_getState(self.model, self.data, state, self._state_parts)
        return state

    def _moment(self, state: np.ndarray, obs: np.ndarray, info: Mapping[str, float]) -> Moment:
        return Moment(
            state=state,
            obs=obs,
            success=bool(info["success"]),
            distance=float(info["obj_to_target"]),
        )


def metaworld_tasks() -> list[str]:
    """List the names of Metaworld's tasks, without `-v3`."""
    table: ModuleType
    try:
        table = importlib.import_module("metaworld.env_dict")
    except ModuleNotFoundError as error:
        raise missing_extra(
            "this environment", error, package="metaworld", extra="metaworld"
        ) from error
    return sorted(name.removesuffix(_SUFFIX) for name in table.ALL_V3_ENVIRONMENTS)
