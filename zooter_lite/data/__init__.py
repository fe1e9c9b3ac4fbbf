"""The reward table: one row per query, one reward per expert."""

from zooter_lite.data.files import read_table, sample_path, write_table
from zooter_lite.data.table import RewardTable

__all__ = ["RewardTable", "read_table", "sample_path", "write_table"]
