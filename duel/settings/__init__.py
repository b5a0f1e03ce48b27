"""Settings of a run: pydantic models by section, filled from a profile and overrides; unknown keys are refused.

A field marked `operational` may be changed when a run is resumed; every other field defines the result.
"""

from duel.settings.evaluation import EvaluationSettings, ReportSettings
from duel.settings.learning import (
    AdversaryPlayerSettings,
    AnchorSettings,
    BasePlayerSettings,
    GRPOSettings,
    OptimizerSettings,
    PlayerSettings,
    ReplaySettings,
    RewardSettings,
    SamplingSettings,
)
from duel.settings.run import OFFLINE, DataSettings, ModelSettings, Settings
from duel.settings.sections import OPERATIONAL, NameOrClass, Section, is_plugin
from duel.settings.services import GeneratorSettings, JudgeSettings
from duel.settings.spending import BudgetSettings

__all__ = [
    "OFFLINE",
    "OPERATIONAL",
    "AdversaryPlayerSettings",
    "AnchorSettings",
    "BasePlayerSettings",
    "BudgetSettings",
    "DataSettings",
    "EvaluationSettings",
    "GRPOSettings",
    "GeneratorSettings",
    "JudgeSettings",
    "ModelSettings",
    "NameOrClass",
    "OptimizerSettings",
    "PlayerSettings",
    "ReplaySettings",
    "ReportSettings",
    "RewardSettings",
    "SamplingSettings",
    "Section",
    "Settings",
    "is_plugin",
]
