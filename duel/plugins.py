"""Loads and checks plug-in classes, which settings name as package.module:Class in place of a built-in name."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from duel.errors import DuelError, SettingsError
from duel.settings import Settings, is_plugin
from duel.settings.profile import flatten

INSTALLED = {"site-packages", "dist-packages"}  # folders that hold installed modules
SEAMS = ("generator.service", "judge.service", "models.policy", "rewards.base", "rewards.adversary")


@dataclass(frozen=True)
class Plugin:
    """Name and version of a plug-in class."""

    name: str  # package.module:Class
    version: str  # of its module, from `version_of`

    def __str__(self) -> str:
        return f"{self.name} ({self.version})"


def load_plugin(setting: str, name: str, protocol: type, *arguments: object, **named: object) -> Any:
    """Return an instance of the class `name` (package.module:Class), called with these arguments.

    A class whose constructor has no parameters is called without arguments.

    Raises:
        SettingsError: The class cannot be imported, does not accept the arguments, or its instance lacks a member of
            the protocol.
    """
    found = find_class(setting, name)
    try:
        signature = inspect.signature(found)
        if not signature.parameters:
            arguments, named = (), {}
        signature.bind(*arguments, **named)
    except (TypeError, ValueError) as error:
        wanted = [*(type(argument).__name__ for argument in arguments), *(f"{key}=" for key in named)]
        raise SettingsError(
            f"{setting} = {name!r}: cannot call {found.__name__}: {error}; expected it to take "
            f"({', '.join(wanted)}), or nothing"
        ) from None
    made = found(*arguments, **named)
    check_members(setting, name, made, protocol)
    return made


def find_class(setting: str, name: str) -> type:
    """Import the class `name` (package.module:Class). Raises SettingsError when it does not exist or is not a class."""
    module_name, _, class_name = name.partition(":")
    module = _import(setting, name)
    if not hasattr(module, class_name):
        classes = [
            key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module_name
        ]
        there = f"its classes: {', '.join(classes)}" if classes else "it defines no class"
        raise SettingsError(f"{setting} = {name!r}: {module_name} has no {class_name}; {there}")
    found = getattr(module, class_name)
    if not isinstance(found, type):
        raise SettingsError(f"{setting} = {name!r}: {class_name} is of type {type(found).__name__}, expected a class")
    return found


def check_members(setting: str, name: str, made: object, protocol: type) -> None:
    """Raise SettingsError with every member of the protocol that the object lacks, or that should be callable."""
    lacking = [
        f"{member}()" if called else member for member, called in _members(protocol) if not _has(made, member, called)
    ]
    if lacking:
        raise SettingsError(
            f"{setting} = {name!r} lacks {', '.join(lacking)}; expected all members of {protocol.__name__} "
            f"({protocol.__module__}), see docs/extending.md"
        )


def plugins_of(settings: Settings) -> dict[str, str]:
    """Return the names of the plug-in classes in the settings, by setting."""
    flat = flatten(settings)
    return {setting: flat[setting] for setting in SEAMS if is_plugin(flat[setting])}


def check_plugins(settings: Settings) -> None:
    """Raise SettingsError when a plug-in class in the settings cannot be imported; creates no instance."""
    for setting, name in plugins_of(settings).items():
        find_class(setting, name)


def plugin_versions(settings: Settings, *seams: str) -> dict[str, Plugin]:
    """Return name and version of the plug-in classes, by setting, of the settings `seams` (none given: of all)."""
    return {
        setting: Plugin(name, version_of(_import(setting, name)))
        for setting, name in plugins_of(settings).items()
        if setting in (seams or SEAMS)
    }


def version_of(module: ModuleType) -> str:
    """Return `<distribution> <version>` of an installed module, otherwise `sha256:` and the digest of its source file.

    The digest is also used for editable installs, whose version does not change with the source.
    """
    file = Path(module.__file__ or "")
    if INSTALLED & set(file.parts):
        for name in importlib.metadata.packages_distributions().get(module.__name__.partition(".")[0], []):
            distribution = importlib.metadata.distribution(name)
            if any(Path(str(own.locate())) == file for own in distribution.files or [] if own.name == file.name):
                return f"{name} {distribution.version}"
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else "unknown"


def _import(setting: str, name: str) -> ModuleType:
    module = name.partition(":")[0]
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise SettingsError(
            f"{setting} = {name!r}: cannot import {module}: {error}; expected an installed module, or one in the "
            "directory where Duel is started"
        ) from None


def _members(protocol: type) -> Iterator[tuple[str, bool]]:
    """Yield the members of a protocol, each with whether it is a method (rather than a property or annotation)."""
    for name in inspect.get_annotations(protocol):
        yield name, False
    for name, value in vars(protocol).items():
        if name == "__call__" or not name.startswith("_"):
            yield name, inspect.isfunction(value)


def _has(made: object, member: str, called: bool) -> bool:
    if member == "__call__":
        return callable(made)
    try:
        value = getattr(made, member)
    except AttributeError:
        return False
    except DuelError:  # a property without a value yet, such as a policy's last update
        return not called
    return callable(value) or not called
