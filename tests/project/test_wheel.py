"""The content of the wheel, and the demo run from the wheel without a checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import duel
from artifacts.run.directory import RunDirectory
from duel.state import StateDirectory

ROOT = Path(__file__).parents[2]
PACKAGES = ("artifacts", "cache", "duel", "flows", "tasks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy: a build writes into the source folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = (folder / "dist").glob("*.whl")
    return path


def packed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.startswith(f"duel-{duel.__version__}.dist-info/")}


def shipped():
    """Return every file of the five packages in the source tree."""
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*"))
    kept = (path for path in files if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in kept}


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel):
    assert packed(wheel) == shipped() - {"flows/automations.yaml"}  # goes with prefect.yaml, which needs a checkout


@pytest.mark.parametrize(
    "path",
    [
        *(f"{name}/py.typed" for name in PACKAGES),
        "flows/profiles/offline.toml",
        "artifacts/report/templates/report.html",
        "duel/offline/weights/vlm/model.safetensors",
        "duel/offline/weights/embedder/model.safetensors",
    ],
)
def test_data_files_are_in_the_wheel(wheel, path):
    assert path in packed(wheel)


@pytest.fixture
def installed(wheel, tmp_path):
    """A new environment with the wheel; its dependencies are those of this one.

    Folders that a .pth names are searched, but .pth files inside them are not read: an editable install of the
    checkout stays invisible.
    """
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    [site] = environment.glob("lib/python*/site-packages")
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(folders)) + "\n")
    return environment


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON", "DUEL_"))
    }
    environment = inherited | {"PREFECT_HOME": str(tmp_path / "prefect"), "OMP_NUM_THREADS": "1"}

    say = f"import json, {', '.join(PACKAGES)}; print(json.dumps([m.__file__ for m in ({', '.join(PACKAGES)})]))"
    found = subprocess.run(
        [installed / "bin" / "python", "-c", say], cwd=folder, env=environment, capture_output=True, check=True
    )
    assert all(Path(file).is_relative_to(installed) for file in json.loads(found.stdout))

    command = [installed / "bin" / "duel", "demo", "--rounds", "2"]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name, rounds in (("demo", 2), ("demo-no-adversary", 6)):
        run = RunDirectory.read(StateDirectory(folder / "state"), name)
        assert run.settings.rounds == rounds
        assert (run.checkpoint_tests / f"ckpt-{rounds}.json").exists()
    assert (folder / "state" / "runs" / "demo" / "report.html").exists()
