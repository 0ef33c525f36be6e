"""Experiments that train a model: small ones by environment, those of the paper by model family."""

from jepawm.registry import Registry


def _lack(found: object) -> str | None:
    from jepawm.experiment import Experiment

    return (
        None
        if isinstance(found, Experiment)
        else f"it is a {type(found).__name__}, not an Experiment"
    )


RECIPES = Registry(
    "recipe",
    {
        "metaworld_reach": "jepawm.recipes.metaworld_reach:METAWORLD_REACH",
        "pointmaze": "jepawm.recipes.pointmaze:POINTMAZE",
        "pusht": "jepawm.recipes.pusht:PUSHT",
        "robot": "jepawm.recipes.robot:ROBOT",
        "wall": "jepawm.recipes.wall:WALL",
        "jepa_wm_wall": "jepawm.recipes.paper_size:JEPA_WM_WALL",
        "jepa_wm_pointmaze": "jepawm.recipes.paper_size:JEPA_WM_POINTMAZE",
        "jepa_wm_pusht": "jepawm.recipes.paper_size:JEPA_WM_PUSHT",
        "jepa_wm_metaworld": "jepawm.recipes.paper_size:JEPA_WM_METAWORLD",
        "jepa_wm_droid": "jepawm.recipes.paper_size:JEPA_WM_DROID",
        "dino_wm_wall": "jepawm.recipes.paper_size:DINO_WM_WALL",
        "dino_wm_pointmaze": "jepawm.recipes.paper_size:DINO_WM_POINTMAZE",
        "dino_wm_pusht": "jepawm.recipes.paper_size:DINO_WM_PUSHT",
        "dino_wm_metaworld": "jepawm.recipes.paper_size:DINO_WM_METAWORLD",
        "dino_wm_droid": "jepawm.recipes.paper_size:DINO_WM_DROID",
        "vjepa2_ac_droid": "jepawm.recipes.paper_size:VJEPA2_AC_DROID",
    },
    rule=_lack,
)
"""Experiments by name."""

__all__ = ["RECIPES"]
