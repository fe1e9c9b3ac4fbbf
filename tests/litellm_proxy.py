"""The LiteLLM proxy of exports/litellm/.venv, on a port of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

FOLDER = ROOT / "exports" / "litellm"
PYTHON = FOLDER / ".venv" / "bin" / "python"
KEY = "sk-" + secrets.token_hex(32)  # LiteLLM starts with no weaker one


def configured(
    folder: Path,
    deployments: Sequence[tuple[str, str, str]],
    plugin: Mapping[str, Any] | None,
    **settings: Any,
) -> dict[str, str]:
    """Write zooter.json and config.yaml (JSON is YAML); return the environment that reads them.

    Parameters
    ----------
    deployments
        Group, model and URL of each.
    plugin
        What zooter.json says; None for a proxy without the plugin.
    settings
        More of LiteLLM's router_settings.
    """
    (folder / "zooter.json").write_text(json.dumps(plugin), "utf-8")
    config = {
        "model_list": [
            {
                "model_name": group,
                "litellm_params": {"model": model, "api_base": url, "api_key": "none"},
            }
            for group, model, url in deployments
        ],
        "router_settings": {"num_retries": 3}
        | ({"plugins": ["zooter_plugin.plugin"]} if plugin else {})
        | settings,
    }
    (folder / "config.yaml").write_text(json.dumps(config), "utf-8")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join((str(FOLDER), str(ROOT))),
        "ZOOTER_SETTINGS": str(folder / "zooter.json"),
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the proxy of a configuration; yield the URL of its API."""
    port = free_port()
    words = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    command = [str(PYTHON.with_name("litellm")), *words]
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness").read()
                    break
                except OSError:
                    time.sleep(0.2)
                assert process.poll() is None, (folder / "proxy.log").read_text("utf-8")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()
