"""The first minutes: offers, a commented configuration, advice on a folder, names that a shell completes."""

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from PIL import Image

from ganforge.cli.completion import read_names
from ganforge.config.schema import resolve
from ganforge.plugins.registry import Registry

REGISTRY = Registry.installed()


def test_train_alone_tells_what_can_be_done_from_here_and_does_nothing(run, here, few_avatars, image_folder):
    np.save("faces.npy", np.zeros((20, 8, 8), np.uint8))
    (here / "few").mkdir()
    Image.new("RGB", (8, 8)).save(here / "few" / "one.png")
    code, out, _ = run("train")
    assert code == 0
    commands = [line.strip() for line in out.splitlines() if line.strip().startswith("ganforge train --")]
    assert commands == [
        "ganforge train --data faces.npy",
        "ganforge train --data photos",
        "ganforge train --data avatars --images 8k",
    ]
    assert "images in photos: 40" in out
    assert sorted(each.name for each in here.iterdir()) == ["faces.npy", "few", "photos"]
    for command in commands:
        code, _, err = run(*shlex.split(command)[1:], "--dry-run", "--device", "cpu")
        assert code == 0, err


def test_a_run_is_offered_to_be_gone_on_with(run, here, image_folder):
    tiny = ["--set", "generator.hidden=8", "--set", "discriminator.hidden=8", "--engine", "eager", "--device", "cpu"]
    assert run("train", "--arch", "mlp", "--data", "photos", "--images", "64", "--batch", "32", *tiny)[0] == 0
    _, out, _ = run("train")
    (command,) = re.findall(r"ganforge (train --resume .*)", out)
    assert command.endswith(" --images 128")
    assert "which has seen 64 images" in out
    code, _, err = run(*shlex.split(command))
    assert code == 0, err
    (config,) = here.glob("runs/*/metrics.jsonl")
    config.write_text("{")
    assert "--resume" not in run("train")[1]


def read_until(terminal, words, seconds=120):
    """Terminal output up to some words."""
    seen, deadline = b"", time.monotonic() + seconds
    while words not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"after {seconds} seconds: {seen!r}"
        seen += os.read(terminal, 4096)
    return seen


@pytest.mark.slow
def test_at_a_terminal_the_user_chooses(here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ganforge", "train"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = read_until(ours, b"Enter for none")
    assert b"1  faces" in seen
    os.write(ours, b"1\n")
    read_until(ours, b"rpgan, loss rpgan, on ")
    process.kill()
    process.wait()
    os.close(ours)


@pytest.mark.parametrize("recipe", REGISTRY.names("recipe"))
def test_a_written_configuration_means_what_the_recipe_means_also_with_every_comment_taken_away(recipe, run, here):
    code, out, err = run("init", "--arch", recipe)
    assert code == 0, err
    assert out.strip() == "ganforge.toml"
    text = (here / "ganforge.toml").read_text()
    expected = resolve(REGISTRY, {"recipe": recipe})
    assert resolve(REGISTRY, tomllib.loads(text)) == expected
    bare = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert bare.count("\n# ") < 3
    assert resolve(REGISTRY, tomllib.loads(bare)) == expected
    for section in ("generator", "optimizer", "training"):
        for name in expected.tree()[section]:
            assert re.search(rf"^(# )?{name} = .*  # .", text, re.MULTILINE), f"{section}.{name} has no word"


def test_flags_go_into_a_written_configuration_and_nothing_is_overwritten(run, here):
    flags = ["--arch", "dcgan", "--data", "photos", "--reg", "r1:weight=3", "--augment", "ada"]
    flags += ["--set", "generator.width=9"]
    assert run("init", "mine.toml", *flags)[0] == 0
    tree = tomllib.loads((here / "mine.toml").read_text())
    assert tree["data"] == {"source": "photos"}
    assert tree["regularizers"]["r1"] == {"weight": 3.0}
    assert tree["augmentations"] == {"ada": {}}
    assert tree["generator"] == {"name": "dcgan", "width": 9}
    before = (here / "mine.toml").read_bytes()
    for wrong, said in (("mine.toml", "already exists"), ("mine.json", "is a .toml file")):
        code, _, err = run("init", wrong)
        assert code == 2
        assert said in err
    assert (here / "mine.toml").read_bytes() == before
    code, _, err = run("init", "other.toml", "--arch", "nobody")
    assert code == 2
    assert "unknown recipe 'nobody'" in err
    assert not (here / "other.toml").exists()


def advice(run, path, *flags):
    code, out, err = run("data", "check", path, "--json", *flags)
    assert code == 0, err
    return json.loads(out)["advice"]


def test_a_check_of_data_ends_with_a_command_that_trains_on_them(run, here, image_folder):
    code, out, err = run("data", "check", "photos")
    assert code == 0, err
    (command,) = re.findall(r"^next +(ganforge .*)", out, re.MULTILINE)
    assert command == "ganforge train --data photos --augment ada"
    assert "--arch projection" in out  # there are two classes
    tiny = ["--batch", "8", "--images", "16", "--set", "generator.width=4", "--set", "discriminator.width=4"]
    code, _, err = run(*shlex.split(command)[1:], *tiny, "--device", "cpu", "--engine", "eager")
    assert code == 0, err


def test_advice_depends_on_what_is_there(run, here):
    np.save("vectors.npy", np.zeros((30, 2), np.float32))
    assert advice(run, "vectors.npy")["command"] == "ganforge train --data vectors.npy --arch mlp"
    large = np.random.default_rng(0).integers(0, 255, (30, 100, 130), np.uint8)
    np.save("large.npy", large)
    assert "--resolution 80x64" in advice(run, "large.npy")["command"]
    assert "--resolution 96x48 " in advice(run, "large.npy", "--resolution", "96x48")["command"]
    np.save("twice.npy", np.concatenate([large, large[:5]])[:, :64, :64])
    words = advice(run, "twice.npy")
    assert any(each.startswith("5 examples are duplicates") for each in words["words"])
    assert "--resolution" not in words["command"]


def request_completion(line):
    """Return the variables by which Bash requests completions."""
    return {"_GANFORGE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}


@pytest.mark.slow
def test_a_shell_completes_names(here):
    environment = {**os.environ, **request_completion("ganforge train --arch style")}
    told = subprocess.run(["ganforge"], env=environment, capture_output=True, text=True, timeout=120)
    assert (told.stdout.split(), told.stderr) == (["stylegan", "stylegan2"], "")


def test_a_shell_completes_parts_runs_and_data(run, here, image_folder, monkeypatch):
    def complete(line):
        for name, value in request_completion(line).items():
            monkeypatch.setenv(name, value)
        _, out, err = run()
        assert not err
        return out.split()

    (here / "runs" / "00003-mine").mkdir(parents=True)
    (here / "runs" / "00003-mine" / "config.json").write_text("{}")
    assert complete("ganforge train --arch style") == ["stylegan", "stylegan2"]
    assert complete("ganforge train --loss mini") == ["minimax"]
    assert complete("ganforge train --data pho") == ["photos"]
    assert complete("ganforge train --data photos/c") == ["photos/cat"]
    assert "avatars" in complete("ganforge train --data ava")
    assert complete("ganforge sample 000") == ["00003-mine"]


def test_names_are_kept_and_read_anew_when_something_else_is_installed(here, monkeypatch):
    from ganforge.core.cache import cache_folder
    from ganforge.plugins import loading

    names = read_names()
    assert set(names["recipe"]) == set(REGISTRY.names("recipe"))
    monkeypatch.setattr(loading, "load_plugins", lambda: pytest.fail("they were known"))
    assert read_names() == names
    monkeypatch.undo()
    path = cache_folder() / "names.json"
    for damaged in ("", "[]", json.dumps({"installed": [], "names": {}})):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(damaged)
        assert read_names() == names
