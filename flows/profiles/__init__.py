"""Profiles: TOML files, each with all settings of a run."""

from pathlib import Path

from duel.errors import SettingsError

FOLDER = Path(__file__).parent


def profile_names() -> list[str]:
    """Return the names of the shipped profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def profile_path(name: str) -> Path:
    """Return the path of a shipped profile, or `name` itself if it ends in `.toml`; raises SettingsError otherwise."""
    if name.endswith(".toml"):
        return Path(name)
    if name not in profile_names():
        raise SettingsError(f"no profile {name!r}: expected one of {', '.join(profile_names())}, or a .toml file")
    return FOLDER / f"{name}.toml"
