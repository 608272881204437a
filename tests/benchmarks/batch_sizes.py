"""What one more image costs: `sample` asked for 1, 2, … images in one process, each twice.

    python tests/benchmarks/batch_sizes.py         # about a minute on two cores

Requests are served in shards of a few sizes (`few_sized_shards`): the first request that meets a new one
compiles, and takes longer than the same request a second time.
"""

import argparse
import time

from rich.console import Console
from rich.table import Table

from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN
from tfprior.sampling import sample
from tfprior.sharding import few_sized_shards


def seconds(prior: GatedPixelCNN, num_samples: int) -> float:
    start = time.perf_counter()
    sample(prior, num_samples, seed=0)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--most", type=int, default=20, help="images of the largest request")
    options = parser.parse_args()
    prior = GatedPixelCNN((28, 28, 1), Categorical(256), filters=64, num_layers=12)
    table = Table("images", "shards", "first time s", "again s", title="Gated PixelCNN, 28×28×1")
    for count in range(1, options.most + 1):
        first, again = (seconds(prior, count) for _ in range(2))
        sizes = " + ".join(str(len(part)) for part in few_sized_shards(count))
        table.add_row(str(count), sizes, f"{first:.2f}", f"{again:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
