"""The command line: train, measure, draw and compress, make codes of images, export.

Everything heavy is imported inside the commands, so that help appears at once.
"""

from tfprior.cli.app import Command, app, import_keras, main
from tfprior.cli.bulk import bulk
from tfprior.cli.bundle import export, info, verify
from tfprior.cli.codes import encode, reconstruct
from tfprior.cli.compress import compress, decompress
from tfprior.cli.encoders import finetune, probe
from tfprior.cli.errors import sentence
from tfprior.cli.evaluate import evaluate
from tfprior.cli.pretrain import pretrain
from tfprior.cli.sample import complete, sample
from tfprior.cli.score import score
from tfprior.cli.serve import serve
from tfprior.cli.train import train

__all__ = ["app", "import_keras", "main", "sentence"]

PRIORS = (evaluate, score, sample, complete, compress, decompress)
TOKENIZERS = (encode, reconstruct)
ENCODERS = (probe, finetune)
BUNDLES = (export, verify, serve, info)

app.add_typer(train, name="train")
app.add_typer(pretrain, name="pretrain")
app.add_typer(bulk, name="bulk")
for command in (*PRIORS, *TOKENIZERS, *ENCODERS, *BUNDLES):
    app.command(cls=Command)(command)
