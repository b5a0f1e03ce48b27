"""Settings of the budget: what may be bought, checked before every paid request."""

from __future__ import annotations

from pydantic import Field

from duel.settings.sections import OPERATIONAL, Section


class BudgetSettings(Section):
    """Limits on spending, by the spend ledger of the state directory; empty: no limit.

    A day is one of UTC. Its limits count all runs of the state directory, and should be equal in all of them.
    """

    usd: float | None = Field(
        None, ge=0, description="dollars that the run may spend, for images and grades", json_schema_extra=OPERATIONAL
    )
    usd_per_day: float | None = Field(
        None, ge=0, description="dollars that all runs together may spend in a day", json_schema_extra=OPERATIONAL
    )
    draws: int | None = Field(None, ge=0, description="images that the run may buy", json_schema_extra=OPERATIONAL)
    draws_per_day: int | None = Field(
        None, ge=0, description="images that all runs together may buy in a day", json_schema_extra=OPERATIONAL
    )
