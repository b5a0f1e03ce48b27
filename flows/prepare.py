"""The preparation flow: get the data set ready."""

from pathlib import Path

from prefect import flow

from duel.settings import Settings
from tasks.preparing import dataset_root, prepare_dataset


@flow(name="prepare")
def prepare(settings: Settings, state: Path = Path("state")) -> str:
    """Write, download or check the data set; return where it lies. What is there already is kept."""
    prepare_dataset(settings.data, state)
    return str(dataset_root(settings.data, state))
