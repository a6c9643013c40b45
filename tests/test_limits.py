"""docs/limits.md can be believed: each limit has its line, each line says what is so, each limit has its test."""

from __future__ import annotations

import ast
import re

import attrs
import pytest
from blocks import CHECKOUT

from pyshard import errors
from pyshard.settings import Settings, settings
from pyshard.shard.plugin import Options

PAGE = (CHECKOUT / "docs/limits.md").read_text(encoding="utf-8")

#: Settings that limit nothing.
OTHERS = {"BOOTSTRAP_SERVER", "SHARD_PORT", "HISTOGRAM_BARS"}

#: Where each limit is tried, at, under and over it.
TESTS = {
    "MAX_KEY_BYTES": [
        "model/test_key_slots.py::test_longest_key",
        "protocol/batch_operations/test_runs.py::test_largest_things_pass",
        "protocol/batch_operations/test_runs.py::test_what_others_could_not_read_is_refused",
    ],
    "MAX_DOCUMENT_BYTES": [
        "model/test_document_encoding.py::test_largest_document",
        "protocol/batch_operations/test_runs.py::test_largest_things_pass",
        "protocol/batch_operations/test_runs.py::test_what_others_could_not_read_is_refused",
    ],
    "MAX_ELEMENTS": [
        "model/test_element_limit.py::test_most_elements_of_a_document",
        "cli/test_text_elements.py::test_most_elements",
        "cli/test_text_elements.py::test_more_elements",
        "test_hostile_shards.py::test_statistics",
    ],
    "MAX_INT_BYTES": [
        "storage/contract/test_increment.py::test_the_largest_ints",
        "client/test_counters.py::test_the_largest_ints",
    ],
    "MAX_NESTING": ["model/test_document_encoding.py::test_deepest_document"],
    "MAX_NAME": [
        "model/cluster_state/test_state.py::test_index_name",
        "model/cluster_state/test_state.py::test_bad_index_name",
        "model/test_config_file.py::test_limits_are_allowed",
    ],
    "MAX_INDEXES": [
        "model/cluster_state/test_state.py::test_most_indexes",
        "model/cluster_state/test_json.py::test_indexes_of_a_state",
    ],
    "MAX_SHARDS": [
        "model/cluster_state/test_json.py::test_shards_of_a_state",
        "model/test_shards_that_are_no_map.py::test_most_shards",
    ],
    "MAX_RANGES": ["model/test_shards_that_are_no_map.py::test_most_ranges"],
    "MAX_SHARD_RANGES": [
        "model/test_shards_that_are_no_map.py::test_most_ranges_of_a_shard",
        "model/cluster_state/test_json.py::test_what_is_no_state",
    ],
    "MAX_STATE_BYTES": ["model/cluster_state/test_json.py::test_bytes_of_a_state"],
    "ITEM_OVERHEAD": ["storage/contract/test_limit.py::test_used"],
    "EXPIRY_OVERHEAD": [
        "storage/contract/test_limit.py::test_an_expiry_counts",
        "storage/contract/test_limit.py::test_an_expiry_needs_room",
    ],
    "MAX_BOX_BYTES": ["net/connection/test_stream.py::test_bytes_of_a_box"],
    "MAX_BOX_KEYS": ["net/connection/test_stream.py::test_keys_of_a_box"],
    "UNFINISHED_BOX": [
        "net/connection/test_stream.py::test_unfinished_box",
        "net/connection/test_stream.py::test_slow_peer_that_finishes",
    ],
    "MAX_BATCH": [
        "shard/test_apply.py::test_most_operations_of_a_batch",
        "protocol/batch_operations/test_limits.py::test_many_runs_of_many_keys",
    ],
    "MAX_RUNS": [
        "protocol/batch_operations/test_limits.py::test_many_runs",
        "client_core/operation_queue/test_batches.py::test_a_run_for_each_operation",
    ],
    "ANSWER_BYTES": ["shard/test_apply.py::test_answers_are_bounded"],
    "ERROR_BYTES": ["protocol/test_error_texts.py::test_errors_of_a_batch"],
    "STALE_OPERATIONS": ["shard/protocol/test_batches.py::test_batches_that_may_be_a_little_old"],
    "BATCH_KEY_BYTES": [
        "shard/test_batch_front.py::test_of_one_run",
        "shard/protocol/test_key_bytes.py::test_each_verb",
    ],
    "BATCH_ONE_BY_ONE": ["protocol/batch_operations/test_work.py::test_operations_one_by_one"],
    "BATCH_WORK": ["protocol/batch_operations/test_work.py::test_records_that_are_copied"],
    "LOOKED_AT_ONCE": [
        "protocol/batch_operations/test_looks.py::test_of_one_run",
        "protocol/batch_operations/test_looks.py::test_pages_of_keys",
    ],
    "DISK_READS_AT_ONCE": ["storage/durable/test_cold_keys.py::test_the_rest_is_refused"],
    "PAGE_KEYS": ["shard/test_keys_and_stat.py::test_keys_of_a_full_page"],
    "PAGE_STEPS": [
        "storage/contract/test_page_steps.py::test_a_page_over_what_is_gone",
        "shard/test_keys_and_stat.py::test_keys_beside_many_that_have_expired",
    ],
    "SERVED_AT_ONCE": [
        "server/test_serving_turns.py::test_a_burst_waits",
        "replication/test_answer_gate.py::test_many_pass_in_some_turns",
    ],
    "SERVED_SLICE": ["server/test_serving_turns.py::test_an_honest_peer_beside_many"],
    "ACCEPTED_AT_ONCE": ["net/test_twisted_reads_and_accepts.py::test_bound_accepts"],
    "STRANGERS_SERVED": ["server/test_serving_turns.py::test_strangers_come_behind"],
    "STRANGER_LINES": ["server/test_paced_log.py::test_thousands_of_connections"],
    "CONNECTION_LINES": ["server/test_paced_log.py::test_thousands_of_connections"],
    "SHARD_LINES": ["bootstrap/test_hostile_shards.py::test_many_reasons"],
    "NEW_STORES": ["bootstrap/test_hostile_shards.py::test_a_new_store_each_time"],
    "MAX_HANDSHAKES": ["server/test_handshakes.py::test_half_open_handshakes_take_nobodys_place"],
    "STRANGER_BOXES": ["authentication/test_strangers.py::test_boxes_of_a_stranger"],
    "PAGE_BYTES": ["shard/test_keys_and_stat.py::test_keys_of_a_heavy_page"],
    "MAX_COMMIT_BYTES": [
        "storage/durable/test_group_commit.py::test_what_waits_is_bounded",
        "storage/durable/test_update_size.py::test_what_waits",
        "storage/contract/test_uncommitted.py::test_until_members_have_it",
        "storage/test_uncommitted_size.py::test_what_waits_for_members",
        "shard/protocol/test_waiting_for_replicas.py::test_small_changes_are_bounded",
    ],
    "MAX_WAITING_QUESTIONS": [
        "shard/test_waiting_questions.py::test_one_address_has_half_of_what_others_leave",
        "shard/test_waiting_questions.py::test_a_batch_past_the_bound",
    ],
    "MAX_GROUP_CHANGES": [
        "storage/durable/test_group_commit.py::test_what_is_committed_together_is_bounded",
        "storage/durable/store/test_groups.py::test_many_changes_become_several_groups",
    ],
    "MAX_GROUP_BYTES": [
        "storage/durable/test_group_commit.py::test_what_is_committed_together_is_bounded",
        "storage/durable/store/test_groups.py::test_groups_of_many_bytes",
        "storage/durable/store/test_groups.py::test_groups_of_many_bytes_that_are_given",
        "storage/durable/test_group_commit.py::test_the_thread_waits_for_the_reactor",
    ],
    "SNAPSHOT_STEPS": [
        "storage/snapshots/test_any_store.py::test_each_call_looks_at_few",
        "shard/test_open_snapshots.py::test_others_are_served_meanwhile",
    ],
    "STAT_INDEXES": ["metrics/test_stat.py::test_documents_by_index"],
    "HTTP_CONNECTIONS": [
        "http/test_bounded_site.py::test_many_connections",
        "http/test_bounded_site.py::test_many_connections_that_are_answered",
    ],
    "HTTP_REQUEST": ["http/test_bounded_site.py::test_slow_requests"],
    "HTTP_PACE": ["http/test_bounded_site.py::test_pace"],
    "HTTP_BURST": ["http/test_bounded_site.py::test_pace"],
    "HTTP_STREAMS": ["http/test_event_streams.py::test_most_streams"],
    "HTTP_STREAM_STALLED": ["http/test_event_streams.py::test_a_peer_that_does_not_read"],
    "SHOWN_SHARDS": ["bootstrap/status_page/test_shown_cluster.py::test_a_huge_cluster"],
    "SHOWN_RECORD_BYTES": ["bootstrap/status_page/test_shown_documents.py::test_long_and_strange_documents"],
    "LOOK_UPS": ["bootstrap/status_page/test_look_up_turns.py::test_one_address_leaves_places"],
    "LOOK_UP": ["bootstrap/status_page/test_status_pages.py::test_look_up_at_a_shard_that_is_away"],
    "STAT_CONNECTIONS": ["server/test_busiest_connections.py::test_all_while_they_are_few"],
    "FOLLOWED_LOG_BYTES": [
        "storage/durable/test_log_retention.py::test_what_need_not_be_kept",
        "storage/durable/store/test_followed_log.py::test_the_bound_of_bytes",
        "storage/followers/test_follower_bounds.py::test_a_follower_that_is_too_slow",
    ],
    "FOLLOWED_LOG_SECONDS": [
        "storage/durable/test_log_retention.py::test_what_need_not_be_kept",
        "storage/durable/store/test_followed_log.py::test_the_bound_of_time",
        "storage/followers/test_follower_bounds.py::test_a_follower_that_never_comes_back",
    ],
    "MAX_FOLLOWERS": ["shard/test_served_followers.py::test_few_followers"],
    "REST_KEPT": [
        "shard/test_served_replicas.py::test_parts_that_nobody_asks_for",
        "shard/test_served_followers.py::test_parts_that_nobody_asks_for",
    ],
    "FOLLOW_BYTES": ["shard/test_served_followers.py::test_many_groups"],
    "COPY_PACE": ["shard/test_range_pull.py::test_paced"],
    "FOLLOWED_AT_ONCE": ["shard/test_slowed_writers.py::test_slowed_while_behind"],
    "MOVE_CATCHES_UP": [
        "model/test_range_moves.py::test_cancelled_when_it_cannot_end",
        "model/test_range_moves.py::test_not_cancelled_before",
    ],
    "PARKED": [
        "shard/test_parked_requests.py::test_for_so_long",
        "shard/test_closed_slots.py::test_for_so_long",
    ],
    "MAX_OPERATOR_CALLS": ["bootstrap/test_operator_calls.py::test_so_many_at_a_time"],
    "PUSHED_BYTES": [
        "bootstrap/test_push_turns.py::test_bytes_under_way",
        "bootstrap/test_push_turns.py::test_silent_shards",
        "bootstrap/test_push_turns.py::test_largest_state",
    ],
    "MAX_WAITING_CHANGES": ["bootstrap/test_change_turns.py::test_so_many_wait"],
    "MAX_PARKED": ["shard/test_parked_requests.py::test_bounds"],
    "MAX_PARKED_OF_CONNECTION": [
        "shard/test_parked_requests.py::test_bound_of_a_connection",
        "shard/protocol/test_parked.py::test_many_boxes_of_a_connection",
    ],
    "MAX_PARKED_BYTES": ["shard/test_parked_requests.py::test_bounds"],
    "MOVE_COPIES": [
        "model/test_range_moves.py::test_cancelled_when_it_cannot_end",
        "model/test_range_moves.py::test_not_cancelled_before",
    ],
    "FOLLOW_WAIT": ["shard/test_range_pull.py::test_progress"],
    "MAX_MOVES": ["model/cluster_state/test_moves.py::test_only_so_many"],
    "LEASE": ["replication/test_failover.py::test_time_of_failover"],
    "MAX_REPLICAS": ["model/cluster_state/test_groups.py::test_most_replicas"],
    "MAX_SNAPSHOTS": [
        "shard/test_open_snapshots.py::test_a_few_at_a_time",
        "shard/test_snapshot_limits.py::test_places",
        "shard/test_snapshot_cost.py::test_an_admins_backup",
    ],
    "MAX_SNAPSHOTS_PER_ADDRESS": ["shard/test_snapshot_limits.py::test_places"],
    "SNAPSHOT_PACE": ["shard/test_snapshot_limits.py::test_time", "shard/test_snapshot_cost.py::test_a_slow_reader"],
    "SNAPSHOT_LOOKS": [
        "backup/test_failing.py::test_what_a_shard_has_to_give",
        "backup/test_failing.py::test_a_shard_that_drips",
    ],
    "SNAPSHOT_PINS": [
        "shard/test_snapshot_limits.py::test_what_is_kept",
        "shard/test_snapshot_cost.py::test_a_snapshot_that_pins_much",
        "shard/test_snapshot_cost.py::test_again_and_again",
        "storage/memory/test_snapshot_size.py::test_what_is_replaced",
    ],
    "ADMIN_SNAPSHOT_PINS": [
        "shard/test_snapshot_limits.py::test_what_is_kept",
        "shard/test_snapshot_cost.py::test_an_admins_backup",
    ],
    "SNAPSHOT_BYTES": ["storage/snapshots/test_any_store.py::test_a_large_record_has_its_own_page"],
    "SNAPSHOT_IDLE": ["shard/test_open_snapshots.py::test_idle"],
    "MAX_CONNECTIONS": ["server/test_connection_admission.py::test_in_all", "server/test_limits.py::test_too_many"],
    "MAX_CONNECTIONS_PER_ADDRESS": ["server/test_connection_admission.py::test_from_one_address"],
    "HELD_BYTES": [
        "server/test_memory.py::test_boxes_that_were_begun",
        "shard/protocol/test_waiting_for_replicas.py::test_too_much_for_all",
        "shard/protocol/test_waiting_for_replicas.py::test_groups_that_are_given_in_parts",
    ],
    "MAX_REFUSED": ["server/test_limits.py::test_refused_ones_are_bounded"],
    "REFUSED": ["server/test_limits.py::test_too_many"],
    "LISTEN_BACKLOG": ["server/test_listen_address.py::test_backlog"],
    "OTHER_FILES": ["server/test_connection_admission.py::test_fewer_files"],
    "BOXES_UNDER_WAY": ["net/connection/test_pace.py::test_boxes_under_way"],
    "BYTES_UNDER_WAY": [
        "net/connection/test_pace.py::test_bytes_under_way",
        "net/connection/test_pace.py::test_bytes_of_answers",
        "shard/protocol/test_waiting_for_replicas.py::test_answers_that_saw_what_waits",
        "functional/test_attacks.py::test_answers_of_large_documents",
    ],
    "LOG_BYTES": ["server/test_rotated_log_file.py::test_size"],
    "SLOW_OPERATION": ["shard/test_slow_operations.py::test_the_default"],
    "LOG_FILES": ["server/test_rotated_log_file.py::test_count"],
    "IDLE": ["server/test_limits.py::test_peers_that_are_gone"],
    "IDLE_LOOK": ["server/test_limits.py::test_peers_that_are_gone"],
    "MAX_STRANGERS": [
        "server/test_connection_admission.py::test_strangers",
        "server/test_limits.py::test_idle_strangers_give_way",
    ],
    "STRANGER_BOX_BYTES": ["authentication/test_strangers.py::test_a_strangers_box"],
    "STRANGER_BOX_KEYS": ["authentication/test_strangers.py::test_a_strangers_box"],
    "STRANGER_UNFINISHED_BOX": ["authentication/test_strangers.py::test_a_strangers_unfinished_box"],
    "AUTHENTICATION": ["authentication/test_strangers.py::test_time_to_authenticate"],
    "HANDSHAKE": ["security/tls/test_failure_log.py::test_time_for_a_handshake"],
    "HANDSHAKE_BYTES": ["security/tls/test_long_handshakes.py::test_a_long_chain"],
    "WALK_BYTES": ["client_core/test_walked_records.py::test_items_of_large_documents"],
    "WRONG_TOKENS": ["authentication/test_strangers.py::test_wrong_tokens"],
    "MIN_SECRET": ["security/test_tokens_and_roles.py::test_lengths_of_secrets"],
    "MAX_SECRET": ["security/test_tokens_and_roles.py::test_lengths_of_secrets"],
    "MAX_TOKEN_FILE": ["security/test_token_file.py::test_no_file"],
    "DEADLINE": ["client/test_silence.py::test_calls_in_flight_end_by_their_deadline"],
    "TIMEOUT": ["net/test_heartbeat.py::test_silence"],
    "HEARTBEAT": [
        "net/reconnecting_dialer/test_heartbeat.py::test_ready",
        "net/reconnecting_dialer/test_heartbeat.py::test_ready_after_silence",
    ],
    "BOX_OPERATIONS": ["client_core/operation_queue/test_batches.py::test_a_box_has_at_most_so_many_operations"],
    "BOX_BYTES": ["client_core/operation_queue/test_batches.py::test_a_box_has_at_most_so_many_bytes"],
    "BOXES_IN_FLIGHT": ["client/test_boxes.py::test_only_so_many_boxes_are_in_flight"],
    "MAX_WAITING": ["client_core/operation_queue/test_bounds.py::test_only_so_many_operations_wait"],
    "MAX_WAITING_BYTES": ["client_core/operation_queue/test_bounds.py::test_only_so_many_bytes_wait"],
    "MAX_QUESTIONS": ["client/test_rpc_channel.py::test_questions_that_wait_are_bounded"],
    "PEER_QUESTIONS": ["client_core/test_questions_from_daemons.py::test_questions_at_once"],
    "PEER_QUESTIONS_PACE": ["client_core/test_questions_from_daemons.py::test_questions_a_second"],
    "BULK_STEP": ["client/test_bulk.py::test_only_so_much_is_in_flight"],
    "BULK_STEPS": ["client_core/test_bulk_input.py::test_several_shards_get_larger_steps"],
    "BULK_STEP_DURABLE": ["client_core/test_bulk_input.py::test_durable_shards_are_changed_by_larger_steps"],
    "BULK_OPERATIONS": ["client/test_bulk.py::test_only_so_much_is_in_flight"],
    "BULK_BYTES": ["client/test_bulk.py::test_bytes_in_flight"],
    "WATCH_INTERVAL": ["bootstrap/test_reconciler.py::test_looks_are_regular"],
    "DRAIN": [
        "server/test_listener.py::test_stop_waits_for_a_bounded_time",
        "shard/test_service.py::test_what_waits_after_the_drain_is_refused",
    ],
    "RETRY_FIRST": ["net/reconnecting_dialer/test_back_off.py::test_back_off_grows_to_a_bound"],
    "RETRY_LONGEST": ["net/reconnecting_dialer/test_back_off.py::test_back_off_grows_to_a_bound"],
}

UNITS = {"": 1, " KiB": 1024, " MiB": 1024**2, " GiB": 1024**3, " s": 1}


@attrs.frozen
class Row:
    """A line of one of the tables."""

    default: str
    settings: list[str]
    options: list[str]
    past: str

    @property
    def number(self) -> float:
        """The default as a number."""
        match = re.fullmatch(r"([\d,.]+)( \w+|)", self.default)
        assert match is not None, self.default
        return float(match[1].replace(",", "")) * UNITS[match[2]]


def rows() -> list[Row]:
    """The lines of all tables, without their heads."""
    found = []
    for line in re.findall(r"^\| (?!limit|time \|)(.*) \|$", PAGE, re.MULTILINE):
        _, default, where, *past = [cell.strip() for cell in line.split(" | ")]
        named = re.findall(r"`([^`]+)`", where)
        names = [one for one in named if one.isupper()]
        found.append(Row(default, names, [one for one in named if one.startswith("--")], " ".join(past)))
    return found


ROWS = [row for row in rows() if row.settings]


def test_every_limit_has_its_line() -> None:
    """Each setting stands in one line, but for those that limit nothing."""
    named = sorted(name for row in ROWS for name in row.settings)
    assert named == sorted({field.name for field in attrs.fields(Settings)} - OTHERS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.settings[0])
def test_lines_say_the_defaults(row: Row) -> None:
    """The default that a line gives is the setting's."""
    for name in row.settings:
        assert row.number == getattr(settings, name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.settings[0])
def test_errors_in_lines(row: Row) -> None:
    """The errors that a line names exist."""
    for name in re.findall(r"`([A-Z][a-z]\w+)`", row.past):
        assert name == "Ping" or issubclass(getattr(errors, name), errors.PyshardError)


def test_options_in_lines() -> None:
    """The options that lines name are those of the daemons, with the same defaults."""
    named = {option: row for row in ROWS for option in row.options}
    assert sorted(named) == [
        "--followed-log-seconds",
        "--followed-log-size",
        "--max-connections",
        "--max-connections-per-address",
    ]
    for option, row in named.items():
        assert Options().defaults[option.removeprefix("--")] == row.number


def test_every_limit_is_tried() -> None:
    """Each limit has tests, which exist."""
    assert sorted(TESTS) == sorted({field.name for field in attrs.fields(Settings)} - OTHERS)
    for names in TESTS.values():
        for name in names:
            path, _, function = name.partition("::")
            tree = ast.parse((CHECKOUT / "tests" / path).read_text(encoding="utf-8"))
            functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert function in functions, name
