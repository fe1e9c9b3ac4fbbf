"""Matrix factorisation as `compare/rivals.py` expects a rival."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zooter_lite.measure.metrics import Array

RANK, EPOCHS, STEPS, BATCH = 64, 20, 400, 256  # epochs and steps at least


def factorise(embeddings: Array, rewards: Array, evaluated: Array, strength: float) -> Array:
    """Matrix factorisation: logit of expert m on query q is v_m . (W q + b) + c_m.

    After RouteLLM (arXiv 2406.18665, section 4.2) and EmbedLLM (arXiv 2410.02223): learnt
    expert embeddings v_m against a projection of the query's embedding, here on the
    observed rewards, scaled to [0, 1] over the table, by binary cross-entropy with Adam.
    `strength` is the decoupled weight decay (AdamW). One thread: sums are equal everywhere.
    """
    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    target = torch.as_tensor((rewards - low) / (high - low or 1.0), dtype=torch.float32)
    inputs, queries = (torch.as_tensor(v, dtype=torch.float32) for v in (embeddings, evaluated))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(
                nn.Linear(inputs.shape[1], RANK), nn.Linear(RANK, target.shape[1])
            )
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=strength)
            size = min(BATCH, len(inputs))
            for _ in range(max(EPOCHS, -(-STEPS * size // len(inputs)))):
                for rows in torch.split(torch.randperm(len(inputs)), size):
                    seen = ~torch.isnan(target[rows])
                    logits = model(inputs[rows])[seen]
                    optimiser.zero_grad()
                    loss = binary_cross_entropy_with_logits(logits, target[rows][seen])
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
        with torch.no_grad():
            return np.asarray(model(queries).numpy(), dtype=np.float64)
    finally:
        torch.set_num_threads(threads)
