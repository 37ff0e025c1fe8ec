"""What may go wrong while a network is trained or a report is made, and the tests that make it go wrong."""

import ast
from pathlib import Path

import pytest

FAULTS = {
    "killed inside a checkpoint's write": ["training_faults::a_write_that_is_cut_short_leaves_a_checkpoint_that_loads"],
    "checkpoint damaged": [
        "checkpoints::one_flipped_bit_is_refused",
        "training_faults::a_damaged_checkpoint_is_said_and_the_one_before_it_taken",
    ],
    "killed within an epoch": ["training_faults::kill_9_costs_at_most_an_epoch_and_changes_no_byte"],
    "going on is equal to the bit, at an epoch and inside one": [
        "training::an_interrupted_run_ends_as_an_undisturbed_one",
        "training_faults::a_signal_leaves_a_checkpoint_and_the_run_ends_as_an_undisturbed_one",
        "checkpoints::an_optimizer_goes_on_bit_for_bit",
    ],
    "another number of workers": ["loading::items_come_in_their_order_whoever_cuts_them"],
    "another number of threads": ["training_faults::other_threads_are_said"],
    "nothing to go on from": [
        "checkpoints::a_missing_checkpoint_says_train_first",
        "training_faults::without_one_that_can_be_read_nothing_is_trained_anew",
    ],
    "a corrupt one to go on from": ["training_faults::a_damaged_checkpoint_is_said_and_the_one_before_it_taken"],
    "configuration changed": [
        "training::another_configuration_in_the_same_folder_is_refused",
        "training_faults::a_fork_goes_on_under_another_configuration",
    ],
    "older format": [
        "checkpoints::another_format_is_named",
        "checkpoints::an_older_format_is_read_with_what_it_lacks",
        "config::what_an_older_version_did_not_have_takes_its_default",
    ],
    "out of memory": [
        "training_faults::a_step_that_does_not_fit_says_what_would",
        "training_faults::each_end_has_its_own_exit_status_and_one_line",
    ],
    "loss is not finite": ["training::a_loss_that_is_not_finite_stops_and_names_the_cases"],
    "maker of phantoms killed": ["training_faults::a_killed_maker_of_phantoms_is_named_with_its_likely_cause"],
    "preparation's worker killed": ["store::killed_workers_leave_the_store_of_an_undisturbed_preparation"],
    "worker hangs": ["parallel::a_case_that_hangs_is_given_up_even_with_the_interpreters_lock_held"],
    "half-written entry of the store": ["store::a_half_written_entry_is_prepared_again"],
    "flipped bit in the store": ["store::a_flipped_bit_in_the_store_is_found_and_the_case_prepared_again"],
    "input, preparation or code changed": [
        "store::a_changed_input_is_prepared_again",
        "store::a_changed_preparation_is_another_entry",
        "store::changed_code_is_another_entry_and_the_old_one_can_be_pruned",
    ],
    "an error has to travel between processes": [
        "parallel::a_bad_case_is_returned_as_its_error_and_the_others_go_on",
        "training_faults::each_end_has_its_own_exit_status_and_one_line",
    ],
    "disk full": [
        "training_faults::a_full_disk_is_said_before_anything_is_written",
        "full_disk::a_training_that_cannot_write_a_file_goes_on_when_it_can",
        "full_disk::a_prediction_that_cannot_be_written_leaves_the_old_one",
        "full_disk::a_report_that_cannot_write_a_record_does_that_step_again",
    ],
    "read-only folder": [
        "training_faults::a_run_that_cannot_be_written_is_named",
        "full_disk::a_training_that_cannot_write_a_file_goes_on_when_it_can",
        "store::a_store_that_cannot_be_written_is_refused_before_the_start",
    ],
    "two trainings in one folder": [
        "training_faults::a_second_training_in_the_same_folder_is_refused_and_a_dead_one_holds_nothing"
    ],
    "SIGTERM, Ctrl-C": [
        "training_faults::a_signal_leaves_a_checkpoint_and_the_run_ends_as_an_undisturbed_one",
        "distributed::two_processes_that_are_stopped_leave_what_one_goes_on_with",
    ],
    "a notebook's kernel dies": ["steps::a_step_that_died_is_run_again_and_those_before_it_are_not"],
    "papermill killed": ["steps::a_damaged_notebook_is_run_again"],
    "report interrupted": [
        "steps::the_same_report_said_again_runs_and_prints_nothing",
        "steps::what_comes_after_a_changed_notebook_is_run_again_and_what_comes_before_is_not",
    ],
    "mistyped parameter": [
        "config::a_mistyped_name_lists_the_known_ones_and_suggests_the_nearest",
        "book::unknown_parameter_is_rejected_and_the_known_ones_are_listed",
        "cli::an_unknown_option_stops_before_anything_runs",
    ],
    "download cut or partly unpacked": [
        "fetch::a_killed_download_goes_on_where_it_was",
        "fetch::a_file_that_was_deleted_is_unpacked_again",
        "fetch::a_wrong_checksum_deletes_the_bytes_and_says_both",
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_made_to_happen_by_a_test(fault):
    for name in FAULTS[fault]:
        module, test = name.split("::")
        tree = ast.parse((Path(__file__).parent / f"test_{module}.py").read_text())
        assert f"test_{test}" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_twenty_eight():
    assert len(FAULTS) == 28
