import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import duel
from duel.settings.profile import fields_of
from duel.settings.typed import parse_value
from flows.cli import build_parser, check_prefect_home, main

ROOT = Path(__file__).parents[2]


def complaint(capsys, *arguments):
    """Run a command that must be refused; return its one line of output."""
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (30, 20), (i * 60, 0, 0)).save(folder / f"{i}.png")
    return folder


def folder_options(tmp_path, folder):
    return (
        "train", "--run", "mine", "--profile", "offline-no-adversary", "--state", str(tmp_path / "state"),
        "--data.source", "folder", "--data.path", str(folder), "--data.train_images", "3", "--data.test_images", "1",
    )  # fmt: skip


def test_an_unknown_option_names_the_most_similar_one(capsys):
    line = complaint(capsys, "train", "--run", "x", "--sampling.grup_size", "4")
    assert line == "duel: --sampling.grup_size is not an option; did you mean --sampling.group_size?"


def test_an_unknown_key_in_a_profile_names_the_most_similar_one(capsys, tmp_path):
    (tmp_path / "mine.toml").write_text("[sampling]\ngrup_size = 4\n")
    line = complaint(
        capsys, "train", "--run", "x", "--profile", str(tmp_path / "mine.toml"), "--state", str(tmp_path / "s")
    )
    assert "sampling.grup_size is not a setting; did you mean sampling.group_size?" in line


def test_an_unknown_profile_lists_existing_ones(capsys, tmp_path):
    line = complaint(capsys, "train", "--run", "x", "--profile", "ofline", "--state", str(tmp_path / "s"))
    assert "no profile 'ofline'" in line
    assert "offline" in line


def test_a_group_of_one_is_refused_and_nothing_is_written(capsys, tmp_path):
    line = complaint(capsys, "train", "--run", "x", "--sampling.group_size", "1", "--state", str(tmp_path / "state"))
    assert "sampling.group_size: got 1" in line
    assert not (tmp_path / "state").exists()


def test_a_missing_folder_is_named_and_nothing_is_written(capsys, tmp_path):
    line = complaint(capsys, *folder_options(tmp_path, tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in line
    assert not (tmp_path / "state").exists()


def test_a_missing_model_is_named_and_nothing_is_written(capsys, tmp_path, pictures):
    line = complaint(capsys, *folder_options(tmp_path, pictures), "--models.base", str(tmp_path / "no_model"))
    assert str(tmp_path / "no_model") in line
    assert not (tmp_path / "state").exists()


def test_a_missing_plugin_class_is_named_and_nothing_is_written(capsys, tmp_path, pictures):
    for setting in ("generator.service", "judge.service", "models.policy", "rewards.base", "rewards.adversary"):
        line = complaint(capsys, *folder_options(tmp_path, pictures), f"--{setting}", "nowhere.mine:Mine")
        assert line.startswith(f"duel: {setting} = 'nowhere.mine:Mine': cannot import nowhere.mine: No module named ")
    assert not (tmp_path / "state").exists()


def test_a_plugin_class_may_be_in_the_current_directory(tmp_path, pictures):
    (tmp_path / "my_rewards.py").write_text("class Mine:\n    pass\n")
    # -P: as for the installed command, the working directory is not on the path.
    command = [
        sys.executable,
        "-P",
        "-c",
        "import sys; from flows.cli import check_prefect_home, main; sys.exit(main())",
    ]
    command += [*folder_options(tmp_path, pictures), "--rewards.base", "my_rewards:Mein"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.stderr == "duel: rewards.base = 'my_rewards:Mein': my_rewards has no Mein; its classes: Mine\n"
    assert done.returncode == 2


def test_a_missing_embedder_is_named_and_nothing_is_written(capsys, tmp_path, pictures):
    line = complaint(capsys, *folder_options(tmp_path, pictures), "--models.embedder", str(tmp_path / "dinov3"))
    assert f"cannot load the embedder '{tmp_path / 'dinov3'}'" in line
    assert not (tmp_path / "state").exists()


def test_a_broken_image_is_named_and_nothing_is_written(capsys, tmp_path, pictures):
    (pictures / "2.png").write_bytes(b"not a picture")
    line = complaint(capsys, *folder_options(tmp_path, pictures))
    assert str(pictures / "2.png") in line
    assert not (tmp_path / "state").exists()


def test_a_state_that_cannot_be_written_is_named(capsys, tmp_path, pictures):
    (tmp_path / "state").write_text("a file, not a folder")
    line = complaint(capsys, *folder_options(tmp_path, pictures))
    assert "cannot open run mine" in line
    assert str(tmp_path / "state") in line


def test_a_run_name_cannot_leave_the_state_folder(capsys, tmp_path, pictures):
    options = ["../../elsewhere" if option == "mine" else option for option in folder_options(tmp_path, pictures)]
    assert "bad run name" in complaint(capsys, *options)


def test_a_missing_run_is_named(capsys, tmp_path):
    assert "no run nothing" in complaint(capsys, "evaluate", "--run", "nothing", "--state", str(tmp_path))


def test_data_that_was_not_prepared_says_so(capsys, tmp_path):
    assert "duel prepare" in complaint(capsys, "train", "--run", "x", "--state", str(tmp_path / "state"))


def test_every_setting_has_an_option_with_help(capsys):
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args(["train", "--help"])
    assert stop.value.code == 0
    page = capsys.readouterr().out
    assert [name for name, _ in fields_of() if f"--{name} VALUE" not in page] == []


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rounds", "3", 3),
        ("base.optimizer.learning_rate", "1e-4", 1e-4),
        ("shared_draws", "true", True),
        ("order", '["base"]', ["base"]),
        ("budget.usd", "none", None),
        ("models.device", "cuda:1", "cuda:1"),
        ("models.base_revision", "12e4567", "12e4567"),  # a commit, and not infinity
        ("models.base_revision", "none", None),
        ("data.path", "2024", "2024"),  # a folder
        ("data.path", '"a folder"', "a folder"),
        ("data.charxiv_revision", "1234567", "1234567"),
        ("sampling.describe", "none", "none"),  # a text, which cannot be empty
        ("generator.parameters", "{go_fast = true}", {"go_fast": True}),
        ("rounds", "three", "three"),  # for the settings' check to refuse
    ],
)
def test_a_value_is_read_by_what_its_setting_can_be(name, text, value):
    assert parse_value(name, text) == value


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--generator.parameters", "3", "generator.parameters: got 3: "),
        ("--generator.parameters", "fast", "generator.parameters: got 'fast': "),
        ("--base.grpo", "3", "--base.grpo is not an option"),
        ("--sampling.temperature", "inf", "sampling.temperature: got inf: Input should be a finite number"),
    ],
)
def test_what_a_setting_cannot_be_is_one_line(capsys, tmp_path, pictures, option, text, message):
    assert message in complaint(capsys, *folder_options(tmp_path, pictures), option, text)


def test_output_that_cannot_show_a_path_escapes_it(tmp_path):
    command = [sys.executable, "-m", "flows.cli", "prepare", "--state", str(tmp_path / "bücher")]
    prefect = {"PREFECT_HOME": str(tmp_path / "prefect")}  # a database of another version may lie in the user's
    variables = os.environ | prefect | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("data set: ")
    assert "b\\xfccher" in done.stdout


def test_a_torchvision_that_does_not_fit_is_one_line(tmp_path, pictures):
    (tmp_path / "site" / "torchvision").mkdir(parents=True)
    fault = "operator torchvision::nms does not exist"
    (tmp_path / "site" / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({fault!r})")
    command = [sys.executable, "-m", "flows.cli", *folder_options(tmp_path, pictures)]
    variables = os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "the installed torchvision cannot be used with torch" in line
    assert fault in line


def test_a_demo_of_no_rounds_is_refused_and_nothing_is_written(capsys, tmp_path):
    line = complaint(capsys, "demo", "--rounds", "0", "--state", str(tmp_path / "state"))
    assert "rounds: got 0" in line
    assert not (tmp_path / "state").exists()


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"duel {duel.__version__}\n"


@pytest.mark.parametrize("home", ["file/prefect", "file"])
def test_a_prefect_home_that_cannot_be_written_is_named_at_once(capsys, tmp_path, monkeypatch, home):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / home))
    line = complaint(capsys, "prepare", "--state", str(tmp_path / "state"))
    assert f"Prefect's folder {tmp_path / home} cannot be written" in line
    assert not (tmp_path / "state").exists()


def test_a_missing_prefect_home_is_created(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "a" / "b"))
    check_prefect_home()
    assert (tmp_path / "a" / "b").is_dir()
