"""Experiments that train a model: small ones by environment or family, those of the paper by family."""

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
        "metaworld_reach_wall": "jepawm.recipes.metaworld_reach_wall:METAWORLD_REACH_WALL",
        "pointmaze": "jepawm.recipes.pointmaze:POINTMAZE",
        "pusht": "jepawm.recipes.pusht:PUSHT",
        "robot": "jepawm.recipes.robot:ROBOT",
        "study_grid": "jepawm.recipes.study:STUDY_GRID",
        "study_grid_pointmaze": "jepawm.recipes.study:STUDY_GRID_POINTMAZE",
        "study_token": "jepawm.recipes.study:STUDY_TOKEN",
        "study_token_pointmaze": "jepawm.recipes.study:STUDY_TOKEN_POINTMAZE",
        "wall": "jepawm.recipes.wall:WALL",
        "small_dino_wm_wall": "jepawm.recipes.baselines:SMALL_DINO_WM_WALL",
        "small_dino_wm_pointmaze": "jepawm.recipes.baselines:SMALL_DINO_WM_POINTMAZE",
        "small_dino_wm_pusht": "jepawm.recipes.baselines:SMALL_DINO_WM_PUSHT",
        "small_dino_wm_metaworld_reach": "jepawm.recipes.baselines:SMALL_DINO_WM_METAWORLD_REACH",
        "small_dino_wm_metaworld_reach_wall": "jepawm.recipes.baselines:SMALL_DINO_WM_METAWORLD_REACH_WALL",
        "small_vjepa2_ac_wall": "jepawm.recipes.baselines:SMALL_VJEPA2_AC_WALL",
        "small_vjepa2_ac_pointmaze": "jepawm.recipes.baselines:SMALL_VJEPA2_AC_POINTMAZE",
        "small_vjepa2_ac_pusht": "jepawm.recipes.baselines:SMALL_VJEPA2_AC_PUSHT",
        "small_vjepa2_ac_metaworld_reach": "jepawm.recipes.baselines:SMALL_VJEPA2_AC_METAWORLD_REACH",
        "small_vjepa2_ac_metaworld_reach_wall": "jepawm.recipes.baselines:SMALL_VJEPA2_AC_METAWORLD_REACH_WALL",
        "small_jepa_wm_wall": "jepawm.recipes.baselines:SMALL_JEPA_WM_WALL",
        "small_jepa_wm_pointmaze": "jepawm.recipes.baselines:SMALL_JEPA_WM_POINTMAZE",
        "small_jepa_wm_pusht": "jepawm.recipes.baselines:SMALL_JEPA_WM_PUSHT",
        "small_jepa_wm_metaworld_reach": "jepawm.recipes.baselines:SMALL_JEPA_WM_METAWORLD_REACH",
        "small_jepa_wm_metaworld_reach_wall": "jepawm.recipes.baselines:SMALL_JEPA_WM_METAWORLD_REACH_WALL",
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
