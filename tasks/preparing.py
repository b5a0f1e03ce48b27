"""Prepare a data set (write, download or check it), and open a prepared one."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from duel.data.charxiv import DATASET, check_provenance, open_charxiv, prepare_charxiv, source_from_environment
from duel.data.dataset import Dataset, open_folder, open_layout
from duel.errors import DataError
from duel.offline.dataset import write_dataset
from duel.settings import DataSettings
from duel.state import StateDirectory
from tasks.credentials import find_hub_token, opened
from tasks.retries import is_service_failure

OFFLINE_SEED = 0  # the offline data set is one fixed set of charts, whatever the run's seed


@task(
    name="prepare_dataset",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[1, 5, 30],
    retry_condition_fn=is_service_failure,
)
def prepare_dataset(settings: DataSettings, state: StateDirectory) -> Dataset:
    """Write, download or check the data set that the settings name; files that exist are kept.

    A retry resumes an interrupted download.
    """
    if settings.source == "offline":
        write_dataset(dataset_root(settings, state), OFFLINE_SEED)
    if settings.source == "charxiv":
        token = opened(find_hub_token([DATASET]))
        prepare_charxiv(dataset_root(settings, state), settings.charxiv_revision, hub_token=token)
    return open_dataset(settings, state)


def open_dataset(settings: DataSettings, state: StateDirectory) -> Dataset:
    """Open a data set that was prepared. Raises DataError naming what is missing or broken."""
    root = dataset_root(settings, state)
    if settings.source == "folder":
        return open_folder(root, settings.train_images, settings.test_images)
    if settings.source == "charxiv":
        dataset = open_charxiv(root, settings.train_images, settings.test_images)
        check_provenance(root, source_from_environment(), settings.charxiv_revision)
        return dataset
    return open_layout(root, settings.train_images, settings.test_images)


def dataset_root(settings: DataSettings, state: StateDirectory) -> Path:
    """Return the data set's directory. Raises DataError for a folder data set without `data.path`."""
    if settings.path is not None:
        return settings.path
    if settings.source == "folder":
        raise DataError("data.source = 'folder' without data.path; say which folder of images: --data.path DIR")
    return state.data(settings.source)
