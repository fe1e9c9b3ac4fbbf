"""Routing on Ray: manifests, two nodes on one machine, and what a second worker gains."""
