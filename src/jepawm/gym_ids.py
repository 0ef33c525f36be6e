"""Ids under which Gymnasium makes our environments: `gymnasium.make("jepawm:jepawm/Wall-v0")`.

They are registered when both packages are imported, in whatever order. What an id stands for is
imported when it is made.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

IDS = {
    "jepawm/PointMaze-v0": ("pointmaze", 100),
    "jepawm/PushT-v0": ("pusht", 300),
    "jepawm/Wall-v0": ("wall", 50),
}
"""Name of the environment, and steps after which an episode is cut off, by id."""
_SINGLE = "jepawm.envs.gymnasium.registered:make_single"
_VECTOR = "jepawm.envs.gymnasium.registered:make_vector"


def register_ids() -> None:
    """Register the ids; those that are there already stay."""
    from gymnasium.envs.registration import register, registry

    for name, (env, steps) in IDS.items():
        if name not in registry:
            register(
                name,
                entry_point=_SINGLE,
                vector_entry_point=_VECTOR,
                max_episode_steps=steps,
                kwargs={"env": env},
            )


def register_with_gymnasium() -> None:
    """Register the ids now, or as soon as Gymnasium is imported."""
    if "gymnasium.envs.registration" in sys.modules:
        register_ids()
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


class _Waiting(MetaPathFinder):
    """Wait for the import of Gymnasium, once."""

    def find_spec(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, fullname: str, *_: object
    ) -> ModuleSpec | None:
        """Find the package as Python would, and register the ids after it has run."""
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            register_ids()

        spec.loader.exec_module = run_and_register
        return spec
