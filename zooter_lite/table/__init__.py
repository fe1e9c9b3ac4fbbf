"""The reward table: one row per query, one reward per expert."""

from zooter_lite.table.reward_table import RewardTable
from zooter_lite.table.storage import read_table, sample_path, write_table

__all__ = ["RewardTable", "read_table", "sample_path", "write_table"]
