"""Rewards to soft labels: normalise, smooth by tag, diagnose. Pure numpy."""

from zooter_lite.labels.diagnostics import Diagnostics, diagnose
from zooter_lite.labels.soft import TagAssignment, normalise, soft_labels

__all__ = ["Diagnostics", "TagAssignment", "diagnose", "normalise", "soft_labels"]
