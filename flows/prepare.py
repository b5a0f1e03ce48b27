"""The preparation flow: write, download or check the data set."""

from pathlib import Path

from prefect import flow

from duel.settings import Settings
from duel.state import StateDirectory
from tasks.preparing import dataset_root, prepare_dataset


@flow(name="prepare")
def prepare(settings: Settings, state: Path | None = None) -> str:
    """Write, download or check the data set and return its directory. Files that exist are kept."""
    folder = StateDirectory.default(state)
    prepare_dataset(settings.data, folder)
    return str(dataset_root(settings.data, folder))
