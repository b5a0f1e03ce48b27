"""Profiles: a whole run's settings in one readable TOML file each."""

from pathlib import Path

from duel.errors import SettingsError

FOLDER = Path(__file__).parent


def profile_names() -> list[str]:
    """Return the names of the shipped profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def profile_path(name: str) -> Path:
    """Return the file of a shipped profile, or `name` itself if it is a TOML file."""
    if name.endswith(".toml"):
        return Path(name)
    if name not in profile_names():
        raise SettingsError(f"no profile {name!r}: expected one of {', '.join(profile_names())}, or a .toml file")
    return FOLDER / f"{name}.toml"
