"""The reward table: one row per query, one reward per expert."""

from zooter_lite.table.experts import in_router_order
from zooter_lite.table.reward_table import RewardTable, as_table, sample_path, write_table
from zooter_lite.table.storage import table_name

read_table = RewardTable.read

__all__ = [
    "RewardTable",
    "as_table",
    "in_router_order",
    "read_table",
    "sample_path",
    "table_name",
    "write_table",
]
