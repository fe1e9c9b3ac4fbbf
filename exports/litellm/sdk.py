"""Ask one prompt through LiteLLM's Router: python sdk.py config.yaml "Write a haiku."."""

import asyncio
import sys
from pathlib import Path

import yaml
from litellm import Router
from zooter_plugin import plugin

groups = yaml.safe_load(Path(sys.argv[1]).read_text("utf-8"))["model_list"]
router = Router(model_list=groups, plugins=[plugin], num_retries=3)
messages = [{"role": "user", "content": sys.argv[2]}]
reply = asyncio.run(router.acompletion("auto", messages=messages))
sys.stdout.write(f"{reply.model}: {reply.choices[0].message.content}\n")
