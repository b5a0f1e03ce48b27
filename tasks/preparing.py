"""Getting a data set ready, and opening one that is."""

from pathlib import Path

from duel.datasets import Dataset, open_folder, open_layout
from duel.errors import DataError, SettingsError
from duel.offline.dataset import write_dataset
from duel.settings import DataSettings

OFFLINE_SEED = 0  # the offline data set is one fixed set of charts, whatever the run's seed


def prepare_dataset(settings: DataSettings, state: Path) -> Dataset:
    """Write or check the data set that the settings name; what is there already is kept."""
    if settings.source == "offline":
        write_dataset(dataset_root(settings, state), OFFLINE_SEED)
    if settings.source == "charxiv":
        raise SettingsError(
            "data.source = 'charxiv': this version cannot download it yet; "
            "put its images and questions under data.path in the README's layout, or use 'folder'"
        )
    return open_dataset(settings, state)


def open_dataset(settings: DataSettings, state: Path) -> Dataset:
    """Open a data set that was prepared. Raises DataError naming what is missing or broken."""
    root = dataset_root(settings, state)
    if settings.source == "folder":
        return open_folder(root, settings.train_images, settings.test_images)
    return open_layout(root, settings.train_images, settings.test_images)


def dataset_root(settings: DataSettings, state: Path) -> Path:
    """Return where the data set lies."""
    if settings.path is not None:
        return settings.path
    if settings.source == "folder":
        raise DataError("data.source = 'folder' without data.path; say which folder of images: --data.path DIR")
    return state / "data" / settings.source
