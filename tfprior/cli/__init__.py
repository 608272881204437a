"""The command line: train, evaluate, score, encode, reconstruct, sample, complete, export, verify,
info.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from tfprior.cli.app import app, import_keras, main, sentence
from tfprior.cli.bundle import export, info, verify
from tfprior.cli.codes import encode, reconstruct
from tfprior.cli.evaluate import evaluate
from tfprior.cli.sample import complete, sample
from tfprior.cli.score import score
from tfprior.cli.train import train

__all__ = ["app", "import_keras", "main", "sentence"]

for command in (train, evaluate, score, encode, reconstruct, sample, complete, export, verify, info):
    app.command()(command)
