"""The reward table: one row per query, one reward per expert."""

from zooter_lite.table.reward_table import RewardTable, sample_path, table_name, write_table

read_table = RewardTable.read

__all__ = ["RewardTable", "read_table", "sample_path", "table_name", "write_table"]
