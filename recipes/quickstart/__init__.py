"""The main job on the bundled sample, in one command."""
