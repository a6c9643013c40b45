"""Replicas of a shard: how they keep one log, who may answer, and who leads next. By PacificA's rules.

DESIGN: a group commits what all its members have. So each member can lead, and nobody votes: whoever decides who the
members are (the cluster's state, by compare-and-swap) decides all.

- `group_times`: how long leases and waits are; `primary_term` and `member_term`: what each side knows under one ballot;
- `pulls`: what a member asks the primary, and what it is answered; `pull_answers` and `member_pulls`: how;
- `answer_gate`: which answers wait until all members have what they saw;
- `replica`: one process's part, over a store and a network that it is given; `store_turns`: one thing after the other;
- `remembered_group`: what it knows over a restart;
- `group_decision`: what a bootstrap makes of what the replicas report.
"""
