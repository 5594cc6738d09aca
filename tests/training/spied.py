"""main.py for tests: it writes down each step.

The loss and the gradient's norm of every step are appended to steps.NAME.RANK.jsonl in the folder.
Batches to score and to encode are small, so that there are several.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from torch import nn

import main
from captioning.data import features
from captioning.training import fit, novelty, stages

LOG = Path(f"steps.{main.parse_arguments().run_name}.{os.environ.get('RANK', '0')}.jsonl")
train_one_epoch, clip_grad_norm = fit.train_one_epoch, nn.utils.clip_grad_norm_
norms = []


def clip(parameters, largest):
    """``clip_grad_norm_``, noted."""
    norms.append(clip_grad_norm(parameters, largest))
    return norms[-1]


def spied(network, batches, optimization, config, loss_function, after_step):
    """``train_one_epoch`` with a log."""

    def note(loss):
        with LOG.open("a") as log:
            log.write(json.dumps([loss, float(norms[-1])]) + "\n")
        after_step(loss)

    return train_one_epoch(network, batches, optimization, config, loss_function, note)


def gentle(config):
    """A stage whose encoder learns slowly: which nouns it offers must not hang on a rounded bit.

    With the recipe's rate of a whole encoder that has never been trained, one process differs as
    much from itself with another number of threads.
    """
    if not config.encoder_learning_rate:
        return config
    return replace(config, learning_rate=1e-4, encoder_learning_rate=1e-7)


main.RECIPE = replace(main.RECIPE, **{k: gentle(v) for k, v in main.RECIPE.stages.items()})
nn.utils.clip_grad_norm_, fit.train_one_epoch = clip, spied
stages.SCORING_BATCH, novelty.BATCH, novelty.FEWEST = 2, 2, 2
features.cached_features.__defaults__ = (3,)
sys.exit(main.main())
