"""Twenty-seven faults and their results.

`FAULTS` names for each of them the tests that show it; what no other file shows is shown below.
"""

import ast
import os
import pickle
import pty
import resource
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from killer import compare_folders
from PIL import Image

import ganforge
from ganforge.cli import main
from ganforge.data.pack import open_data
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.recording.sample_grids import write_animation

HERE = Path(__file__).parent

FAULTS = {
    1: [  # SIGTERM
        "test_faults::test_a_terminated_run_leaves_with_143_after_the_step_at_hand_and_nothing_is_lost",
        "test_training::test_a_run_stopped_and_resumed_ends_with_the_bytes_of_an_unbroken_one",
        "test_growing::test_a_run_stopped_in_a_fade_ends_with_the_bytes_of_an_unbroken_one",
        "test_scoring::test_a_run_resumed_ends_with_the_rows_and_the_best_of_an_unbroken_one",
    ],
    2: [  # Ctrl-C, once and twice
        "test_cli::test_an_interrupted_process_leaves_with_130_and_goes_on",
        "test_faults::test_a_second_interrupt_ends_a_run_at_once_and_tears_no_file",
        "test_writer::test_an_interrupted_process_ends_though_a_file_cannot_be_written_for_ever",
    ],
    3: [  # SIGKILL, while a checkpoint is written and at any other moment
        "test_faults::test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before",
        "test_faults::test_a_run_killed_when_all_but_the_animation_is_there_is_finished",
        "test_faults::test_a_run_killed_before_its_first_checkpoint_begins_anew",
        "test_killer::test_a_run_that_is_killed_again_and_again_loses_nothing",
        "test_files::test_what_a_killed_process_left_goes_when_another_writes_there_and_what_is_at_work_stays",
        "test_data_store::test_a_kill_while_writing_leaves_nothing_that_loads",
    ],
    4: [  # a full disk
        "test_faults::test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_later",
        "test_writer::test_a_folder_that_cannot_be_written_ends_the_run_in_one_line_and_it_goes_on_later",
        "test_faults::test_an_animation_is_whole_or_not_there",
        "test_checkpoint::test_a_failed_write_leaves_the_old_file_and_no_other",
        "test_data_pack::test_a_full_disk_is_done_without_and_said",
    ],
    5: [  # a damaged checkpoint
        "test_faults::test_a_damaged_checkpoint_is_told_and_passed_over",
        "test_faults::test_a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is",
        "test_checkpoint::test_a_flipped_bit_is_noticed",
        "test_checkpoint::test_a_flipped_bit_in_the_card_is_noticed",
        "test_checkpoint::test_a_file_cut_short_by_one_byte_is_refused",
        "test_scoring::test_a_damaged_best_generator_is_named_and_passed_over",
    ],
    6: [  # a checkpoint of another architecture
        "test_faults::test_a_checkpoint_of_other_networks_is_refused_with_what_differs",
        "test_checkpoint::test_weights_of_another_shape_are_refused_in_one_line",
        "test_checkpoint::test_an_architecture_that_is_not_installed_names_its_plugin",
    ],
    7: [  # code in the place of weights or data
        "test_faults::test_a_pickle_in_the_place_of_weights_is_never_run",
        "test_inception_weights::test_a_malicious_pickle_is_not_run",
        "test_data_sources::test_a_pickle_in_an_array_file_is_never_run",
        "test_data_torchvision::test_a_cifar_pickle_of_another_digest_is_never_run",
    ],
    8: [  # resumed with another number of processes
        "test_distributed::test_a_run_of_two_goes_on_alone_as_if_one_had_computed_the_parts",
        "test_distributed::test_any_number_of_processes_sees_the_same_batches_and_latents_in_order",
    ],
    9: [  # gradients that are not finite
        "test_divergence::test_a_player_whose_loss_is_not_finite_does_not_move_and_goes_on_afterwards",
        "test_divergence::test_a_run_that_cannot_step_goes_back_once_and_ends_well",
        "test_divergence::test_going_back_has_an_end_and_the_last_good_state_is_kept",
        "test_divergence::test_the_command_leaves_with_a_code_of_its_own",
    ],
    10: [  # collapse, and a discriminator that has won
        "test_divergence::test_a_sign_that_lasts_is_a_warning_until_it_goes",
        "test_divergence::test_a_generator_that_does_not_learn_and_makes_one_thing_is_told_in_the_log",
    ],
    11: [  # out of memory in a step
        "test_memory::test_a_run_that_does_not_fit_says_so_in_one_line_and_can_be_gone_on_with",
        "test_memory::test_remedies_are_such_as_can_be_taken",
    ],
    12: [  # out of memory in a score
        "test_memory::test_an_extractor_without_room_for_a_batch_gets_halves_and_gives_the_same",
        "test_memory::test_a_generator_without_room_for_a_batch_gets_halves_and_gives_the_same",
    ],
    13: [  # an image that cannot be read
        "test_data_skip_bad::test_bad_files_are_left_out_and_the_rest_is_as_if_they_had_never_been",
        "test_data_skip_bad::test_more_than_one_in_ten_is_refused_in_one_line",
        "test_cli::test_a_mistake_is_one_line_and_exit_code_2",
        "test_data_check::test_a_report_names_every_unreadable_file_and_why",
        "test_data_decode::test_a_truncated_file_is_an_error_that_names_it",
        "test_data_pack::test_an_image_that_cannot_be_decoded_is_named",
    ],
    14: [  # images of all kinds
        "test_data_pack::test_images_of_different_sizes_come_to_the_default",
        "test_data_pack::test_one_colour_image_makes_three_channels",
        "test_data_pack::test_cropping_without_resizing_is_recorded_as_such",
        "test_data_decode::test_16_bit_grey_is_scaled_not_clipped",
        "test_data_decode::test_transparent_colours_are_put_on_white",
        "test_data_decode::test_cmyk_becomes_rgb",
        "test_data_decode::test_a_picture_is_turned_as_its_exif_data_say",
    ],
    15: [  # bombs, web pages and nothing
        "test_data_decode::test_a_decompression_bomb_is_an_error_even_where_pillow_only_warns",
        "test_data_decode::test_what_is_no_picture_is_named_for_what_it_is",
        "test_data_sources::test_a_member_that_claims_too_much_is_an_error",
    ],
    16: [  # empty folders, and no classes where there should be
        "test_data_sources::test_an_empty_folder_is_an_error",
        "test_conditioning::test_a_conditional_run_on_unlabelled_data_stops_before_it_begins",
        "test_faults::test_an_empty_folder_among_classes_is_no_class",
    ],
    17: ["test_cli::test_data_that_changed_stop_a_resume"],
    18: [  # batches that do not fit
        "test_faults::test_a_batch_of_any_size_trains",
        "test_batches::test_the_order_is_the_documented_one",
        "test_stabilizers::test_what_does_not_divide_into_packs_is_refused",
    ],
    19: [  # names that are not found
        "test_cli::test_a_mistake_is_one_line_and_exit_code_2",
        "test_config::test_a_mistake_is_one_line_that_names_the_place",
        "test_options::test_an_unknown_option_suggests_the_nearest",
    ],
    20: [  # values that are none
        "test_cli::test_a_mistake_is_one_line_and_exit_code_2",
        "test_options::test_wrong_values_name_the_place_and_the_value",
        "test_config::test_a_setting_of_another_form_is_refused",
    ],
    21: [  # plugins that are broken
        "test_plugins::test_a_broken_plugin_is_explained",
        "test_plugins::test_broken_plugins_change_nothing_for_the_others",
        "test_plugins::test_a_name_offered_twice_is_an_error_only_when_it_is_asked_for",
        "test_plugins::test_list_and_doctor_show_a_broken_plugin_and_exit_codes_tell",
    ],
    22: [  # plugins that do not keep the contract
        "test_faults::test_a_network_that_does_not_keep_the_contract_is_refused_before_the_run_begins",
        "test_export::test_what_cannot_be_compiled_is_told_in_one_line_with_place_and_rule",
        "test_contract::test_an_unscriptable_generator_is_explained",
        "test_portable::test_the_line_that_branches_is_named",
    ],
    23: [  # a process that dies
        "test_distributed::test_one_that_is_killed_ends_all_and_a_signal_stops_all_and_the_run_goes_on",
    ],
    24: [  # no network
        "test_data_torchvision::test_offline_one_error_says_what_to_place_where",
        "test_inception_weights::test_without_weights_and_network_one_line_says_what_to_fetch_and_where_to_put_it",
    ],
    25: [  # places that cannot be written, or are taken
        "test_faults::test_a_place_that_cannot_be_written_is_told_before_the_run_begins",
        "test_faults::test_a_run_whose_folder_vanishes_ends_in_one_line_and_does_not_make_it_again",
        "test_faults::test_runs_that_start_together_have_a_number_each",
        "test_faults::test_a_name_may_be_taken_twice",
        "test_scoring::test_where_no_cache_can_be_written_a_run_is_scored_as_well",
        "test_data_pack::test_a_cache_that_cannot_be_written_is_done_without_and_said",
    ],
    26: [  # terminals
        "test_cli::test_plain_lines_where_there_is_no_terminal",
        "test_faults::test_a_dumb_terminal_that_knows_ascii_alone_shows_any_name",
        "test_faults::test_a_run_whose_reader_leaves_goes_on_to_its_end",
        "test_faults::test_a_result_whose_reader_has_left_is_no_traceback",
    ],
    27: [  # what is exported
        "test_export::test_a_process_without_ganforge_computes_what_the_original_does",
        "test_cpp::test_floats_are_those_that_python_computes",
        "test_cpp::test_mistakes_with_tensors_are_told",
        "test_portable::test_no_torchscript_file_holds_what_an_older_torch_does_not_know",
        "test_portable::test_examples_cover_batches_truncations_classes_and_noise",
    ],
}
"""For each fault the tests that show what comes of it."""


@pytest.mark.parametrize("number", range(1, 28))
def test_every_fault_is_shown_by_tests_that_are_there(number):
    for each in FAULTS[number]:
        file, _, name = each.partition("::")
        tree = ast.parse((HERE / f"{file}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, each


# Runs to be disturbed: all are copies of one that has gone half its way.

SMALL = [
    "--batch", "8", "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "training.threads=1",
    "--set", "training.layout=contiguous", "--set", "training.tick_images=8", "--set", "training.samples=4",
    "--set", "generator.width=4", "--set", "discriminator.width=4",
]  # fmt: skip

PLUGIN = '''
import os, shutil, signal, sys, time
from ganforge import Regularizer, hookimpl

FAULT = os.environ.get("FAULT", "")
sync = os.fsync

def interrupt_and_hang(descriptor):
    if os.environ["WHERE"] in os.readlink(f"/proc/self/fd/{descriptor}"):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1000)
    sync(descriptor)

def die_at_a_checkpoint(descriptor):
    if "/checkpoints/" in os.readlink(f"/proc/self/fd/{descriptor}"):
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)

def die_at_the_animation(event, arguments):
    if event == "open" and "training.gif" in str(arguments[0]) and arguments[2] & os.O_CREAT:
        os.kill(os.getpid(), signal.SIGKILL)

if FAULT == "kill":
    os.fsync = die_at_a_checkpoint
if FAULT == "kill at the end":
    sys.addaudithook(die_at_the_animation)
if FAULT == "interrupt twice":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it

class Fault(Regularizer):
    """Something goes wrong after 72 images."""

    def generator(self, step):
        if step.images_seen == 72 and FAULT == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        if step.images_seen == 72 and FAULT == "interrupt twice":
            os.fsync = interrupt_and_hang
            os.kill(os.getpid(), signal.SIGINT)
        if step.images_seen == 72 and FAULT == "vanish":
            shutil.rmtree(os.environ["FOLDER"])

@hookimpl
def ganforge_regularizers():
    return {"fault": Fault}
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, a plugin and two runs: one at half its budget, and an undisturbed one."""
    root = tmp_path_factory.mktemp("faults")
    source = np.random.default_rng(0)
    for index in range(40):
        path = root / "photos" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    (root / "fault.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFORGE_CACHE", str(root / "cache"))
        beginning = ["--data", root / "photos", "--reg", "fault", "--images", "48", "--name", "half", *SMALL]
        call("train", "--plugin", root / "fault.py", "--out", root, *beginning)
        (root / "00000-half").rename(root / "half")
        shutil.copytree(root / "half", root / "whole")
        call(*goes_on(root, root / "whole"))
    return root


def call(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    assert not stop.value.code


def goes_on(place, folder, images=96):
    return ["train", "--plugin", place / "fault.py", "--resume", folder, "--images", images]


@pytest.fixture
def half(place, tmp_path):
    """A copy of the run that has gone half its way."""
    shutil.copytree(place / "half", tmp_path / "half")
    folder = RunFolder(tmp_path / "half")
    folder.checkpoint_path(0).unlink()
    return folder


def begin(arguments, fault="", **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FAULT": fault, **options.pop("environment", {})}
    command = [sys.executable, "-m", "ganforge", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, **options)


def end(arguments, fault, **options):
    """Exit code and standard error of a process in which something goes wrong."""
    with begin(arguments, fault, stderr=subprocess.PIPE, **options) as process:
        _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, errors


def assert_nothing_is_lost(run, place, folder):
    """Resume a run; it ends as the undisturbed one."""
    code, _, err = run(*goes_on(place, folder.path))
    assert code == 0, err
    assert compare_folders(folder.path, place / "whole") == []
    return err


def test_a_terminated_run_leaves_with_143_after_the_step_at_hand_and_nothing_is_lost(run, place, half, monkeypatch):
    monkeypatch.setenv("FAULT", "terminate")
    code, _, err = run(*goes_on(place, half.path))
    assert code == 143
    assert err.splitlines()[-1] == f"stopped by SIGTERM; resume with: ganforge train --resume {half.path}"
    assert half.checkpoint_paths()[-1] == half.checkpoint_path(72)
    monkeypatch.delenv("FAULT")
    assert_nothing_is_lost(run, place, half)


@pytest.mark.slow
@pytest.mark.parametrize("where", [pytest.param("/log.txt", marks=pytest.mark.exhaustive), "/checkpoints/"])
def test_a_second_interrupt_ends_a_run_at_once_and_tears_no_file(run, place, half, where):
    code, _ = end(goes_on(place, half.path), "interrupt twice", environment={"WHERE": where})
    assert code == 130
    for path in [half.generator, *half.checkpoint_paths()]:
        read_tensors(path)
    for path in half.samples.iterdir():
        if path.suffix == ".png":
            Image.open(path).load()
    assert_nothing_is_lost(run, place, half)
    assert not list(half.path.rglob(".*"))


@pytest.mark.slow
def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(run, place, half):
    code, _ = end(goes_on(place, half.path), "kill")
    assert code == -signal.SIGKILL
    assert list(half.checkpoints.glob(".*.ganforge-draft"))
    assert half.checkpoint_paths() == [half.checkpoint_path(48)]
    err = assert_nothing_is_lost(run, place, half)
    assert f"resuming from {half.checkpoint_path(48)} at 48 images" in err
    assert not list(half.path.rglob(".*"))


@pytest.mark.slow
def test_a_run_killed_when_all_but_the_animation_is_there_is_finished(run, place, half):
    code, _ = end(goes_on(place, half.path), "kill at the end")
    assert code == -signal.SIGKILL
    assert not half.animation.exists() or half.animation.read_bytes() != (place / "whole/training.gif").read_bytes()
    code, _, err = run(*goes_on(place, half.path))
    assert code == 2
    assert "has spent its budget" in err
    assert compare_folders(half.path, place / "whole") == []


def test_a_run_killed_before_its_first_checkpoint_begins_anew(run, place, half):
    shutil.rmtree(half.checkpoints)
    half.checkpoints.mkdir()
    half.generator.unlink()
    assert_nothing_is_lost(run, place, half)


def test_an_animation_is_whole_or_not_there(place, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    pictures = sorted((place / "whole/samples").iterdir())
    write_animation(tmp_path / "training.gif", pictures[:2])
    before = (tmp_path / "training.gif").read_bytes()
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ganforge.GanforgeError, match="No space left on device"):
        write_animation(tmp_path / "training.gif", pictures)
    assert (tmp_path / "training.gif").read_bytes() == before


@pytest.fixture(params=["limit", "small disk"])
def full_disk(request, tmp_path):
    """A folder on a disk that has room for pictures but not for a checkpoint, and what makes room."""
    if request.param == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
        yield tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    else:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False)
        if mount.returncode:
            pytest.skip("a small disk cannot be mounted here")
        yield disk, (disk / "ballast").unlink
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_ends_a_run_in_one_line_and_it_goes_on_later(run, place, full_disk):
    disk, make_room = full_disk
    shutil.copytree(place / "half", disk / "half", copy_function=copy_by_parts)
    if disk.name == "disk":
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
        (disk / "ballast").write_bytes(bytes(room - 80_000))
    half = RunFolder(disk / "half")
    code, out, err = run(*goes_on(place, half.path))
    make_room()
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"error: cannot write {half.path}/")
    assert last.endswith("check space and rights there")
    assert "Traceback" not in err
    read_tensors(half.checkpoint_path(48))
    read_tensors(half.generator)
    assert not list(half.path.rglob(".*"))
    assert_nothing_is_lost(run, place, half)


def copy_by_parts(source, target):
    """Copy a file that may be larger than what a process may write."""
    subprocess.run(["cp", "-p", source, target], check=True, preexec_fn=lift_limit)


def lift_limit():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)


def flip(content, place):
    changed = bytearray(content)
    changed[place] ^= 4
    return bytes(changed)


DAMAGES = {
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "half": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a bit of the size": lambda content: flip(content, 0),
    "a bit of the names": lambda content: flip(content, content.index(b"generator/")),
    "a bit of the card": lambda content: flip(content, content.index(b'\\"images\\": 96') + len(b'\\"images\\": ')),
    "a bit of the weights": lambda content: flip(content, -1),
    "weights of zeros": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "text": lambda content: b"<html>404</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_passed_over(run, place, tmp_path, damage):
    shutil.copytree(place / "whole", tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    newest = folder.checkpoint_path(96)
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    err = assert_nothing_is_lost(run, place, folder)
    (line,) = [line for line in err.splitlines() if str(newest) in line]
    assert "damaged" in line
    assert line.endswith(f"resuming from {folder.checkpoint_path(48)} at 48 images")


def test_a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is(run, place, half):
    half.checkpoint_path(48).write_bytes(half.checkpoint_path(48).read_bytes()[:-1])
    before = {path: path.read_bytes() for path in half.path.rglob("*") if path.is_file()}
    code, _, err = run(*goes_on(place, half.path))
    assert code == 2
    assert err.splitlines()[-1].startswith(f"error: {half.path} cannot be resumed: {half.checkpoint_path(48)}: ")
    assert {path: path.read_bytes() for path in half.path.rglob("*") if path.is_file()} == before


def test_a_run_whose_checkpoints_were_removed_is_refused_and_left_as_it_is(run, place, half):
    shutil.rmtree(half.checkpoints)
    before = {path: path.read_bytes() for path in half.path.rglob("*") if path.is_file()}
    code, _, err = run(*goes_on(place, half.path))
    assert code == 2
    assert err.splitlines()[-1].startswith(
        f"error: {half.checkpoints} has no checkpoint - restore the newest, or start"
    )
    assert {path: path.read_bytes() for path in half.path.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_other_networks_is_refused_with_what_differs(run, place, half, tmp_path):
    other = ["--data", place / "photos", "--images", "8", "--out", tmp_path, "--name", "other", *SMALL]
    code, out, err = run("train", *other, "--set", "generator.width=8")
    assert code == 0, err
    foreign = RunFolder(Path(out.strip())).checkpoint_path(8)
    shutil.copy(foreign, half.checkpoint_path(48))
    code, _, err = run(*goes_on(place, half.path))
    assert code == 2
    last = err.splitlines()[-1]
    assert "the checkpoint does not fit the run's generator" in last
    assert "size mismatch for " in last


class Evil:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_pickle_in_the_place_of_weights_is_never_run(run, place, half, tmp_path, container):
    trace = tmp_path / "trace"
    for path in (half.generator, half.checkpoint_path(48)):
        if container == "torch":
            torch.save({"x": Evil(trace)}, path)
        else:
            path.write_bytes(pickle.dumps(Evil(trace)))
    for arguments in (
        goes_on(place, half.path),
        ["sample", half.path],
        ["sample", half.generator],
        ["export", "--torchscript", half.path],
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert "is not a safetensors file" in err.splitlines()[-1]
    with pytest.raises(ganforge.CheckpointError):
        ganforge.load(half.path)
    assert not trace.exists()


def test_an_empty_folder_among_classes_is_no_class(image_folder):
    (image_folder / "bird").mkdir()
    data = open_data(str(image_folder))
    assert data.class_names == ("cat", "dog")
    assert data.labels.unique().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        (["--batch", "100"], 200),  # more than there are
        (["--batch", "7"], 28),  # which leaves some over at the end of an epoch
        (["--batch", "1"], 3),  # of which each is normalized
        (["--batch", "1", "--arch", "pggan", "--set", "discriminator.max_width=8"], 3),  # which has no deviation
    ],
)
def test_a_batch_of_any_size_trains(run, place, tmp_path, arguments, images):
    rest = ["--out", tmp_path, "--images", images, "--set", "generator.max_width=8"][: 6 if "pggan" in arguments else 4]
    code, out, err = run("train", "--data", place / "photos", *SMALL, *arguments, *rest)
    assert code == 0, err
    tensors, card = read_tensors(Path(out.strip()) / "generator.safetensors")
    assert card["images"] == images
    assert all(tensor.isfinite().all() for tensor in tensors.values())


# Networks that do not keep the contract.

NETWORKS = """
import torch
from ganforge import Discriminator, Generator, hookimpl

class G(Generator):
    "A generator."
    def __init__(self, data, *, z_dim: int = 4):
        super().__init__()
        self.z_dim, self.shape = z_dim, data.shape
        self.layer = torch.nn.Linear(z_dim, 3 * 16 * 16)
    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        images = self.layer(z).view(-1, *self.shape).tanh()
        return GENERATOR

class D(Discriminator):
    "A discriminator."
    def __init__(self, data):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 16 * 16, 1)
    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        logits = self.layer(images.flatten(1))[:, 0]
        return DISCRIMINATOR

@hookimpl
def ganforge_generators():
    return {"g": G}

@hookimpl
def ganforge_discriminators():
    return {"d": D}
"""

BROKEN = {
    "columns that are missing": ("images[..., :-1]", "logits"),
    "one image for all": ("images[:1]", "logits"),
    "float64": ("images.double()", "logits"),
    "float16": ("images.half()", "logits"),
    "pixels": ("images.mul(255).to(torch.uint8)", "logits"),
    "two things": ("(images, z)", "logits"),
    "nothing": ("None", "logits"),
    "an array": ("images.detach().numpy()", "logits"),
    "no graph": ("images.detach()", "logits"),
    "numbers that are not finite": ("images / 0", "logits"),
    "an error of torch": ("images @ z", "logits"),
    "an error of python": ("{}['x']", "logits"),
    "logits [N, 1]": ("images", "logits[:, None]"),
    "a logit more than images": ("images", "torch.cat((logits, logits[:1]))"),
    "logits of float64": ("images", "logits.double()"),
    "logits that are whole numbers": ("images", "logits.long()"),
    "logits without a graph": ("images", "logits.detach()"),
    "logits and more": ("images", "(logits, 1)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_network_that_does_not_keep_the_contract_is_refused_before_the_run_begins(run, place, tmp_path, name):
    images, logits = BROKEN[name]
    plugin = tmp_path / "networks.py"
    plugin.write_text(NETWORKS.replace("GENERATOR", images).replace("DISCRIMINATOR", logits))
    rest = ["--generator", "g", "--discriminator", "d", "--images", "16", "--out", tmp_path / "runs", *SMALL[:-4]]
    code, out, err = run("train", "--plugin", plugin, "--data", place / "photos", *rest)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(
        f"error: {'generator' if logits == 'logits' else 'discriminator'} '{'g' if logits == 'logits' else 'd'}' "
    )
    assert not (tmp_path / "runs").exists()


# Places and terminals.


@pytest.mark.parametrize("where", ["a file", "below a file", "not for writing"])
def test_a_place_that_cannot_be_written_is_told_before_the_run_begins(run, place, tmp_path, where):
    (tmp_path / "file").touch()
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file/runs", "not for writing": "/sys/ganforge"}[
        where
    ]
    code, printed, err = run("train", "--data", place / "photos", "--images", "16", "--out", out, *SMALL)
    assert (code, printed) == (2, "")
    assert err.splitlines()[-1].startswith(f"error: --out {out}: not writable: ")


def test_a_run_whose_folder_vanishes_ends_in_one_line_and_does_not_make_it_again(run, place, half, monkeypatch):
    monkeypatch.setenv("FAULT", "vanish")
    monkeypatch.setenv("FOLDER", str(half.path))
    code, _, err = run(*goes_on(place, half.path))
    assert code == 2
    assert f"error: {half.path} was moved or deleted while it was trained - " in err.splitlines()[-1]
    assert not half.path.exists()


def test_runs_that_start_together_have_a_number_each(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda index: RunFolder.create(tmp_path, f"run{index % 2}"), range(16)))
    assert len({each.path.name[:5] for each in folders}) == 16
    assert sorted(each.path for each in folders) == sorted(tmp_path.iterdir())


def test_a_name_may_be_taken_twice(run, place, tmp_path):
    for number in range(2):
        arguments = ["--images", "8", "--out", tmp_path, "--name", "same", *SMALL]
        code, out, err = run("train", "--data", place / "photos", *arguments)
        assert (code, out.strip()) == (0, str(tmp_path / f"{number:05d}-same")), err


@pytest.mark.slow
def test_a_dumb_terminal_that_knows_ascii_alone_shows_any_name(place, tmp_path):
    shutil.copytree(place / "photos", tmp_path / "fötos")
    ascii_only = {"TERM": "dumb", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    arguments = ["train", "--data", tmp_path / "fötos", "--images", "24", "--name", "läuft", "--out", tmp_path, *SMALL]
    terminal, its_side = pty.openpty()
    with begin(arguments, stderr=its_side, environment=ascii_only) as process:
        os.close(its_side)
        shown = b""
        while chunk := read_terminal(terminal):
            shown += chunk
        out = process.stdout.read()
    assert process.returncode == 0, shown
    assert out == f"{tmp_path}/00000-l\\xe4uft\n"
    assert b"Traceback" not in shown
    assert b"24 images in" in shown
    assert shown.isascii()
    assert (tmp_path / "00000-läuft" / "generator.safetensors").exists()


def read_terminal(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # its writer has closed it
        os.close(terminal)
        return b""


@pytest.mark.slow
def test_a_run_whose_reader_leaves_goes_on_to_its_end(place, half):
    with begin(goes_on(place, half.path), stderr=subprocess.PIPE) as process:
        assert process.stderr.readline() == f"resuming {half.path}\n"
        process.stderr.close()
        assert process.stdout.read() == f"{half.path}\n"
    assert process.returncode == 0
    assert compare_folders(half.path, place / "whole") == []


@pytest.mark.slow
def test_a_result_whose_reader_has_left_is_no_traceback(place, tmp_path):
    with begin(["plugins", "list"], stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, "")
