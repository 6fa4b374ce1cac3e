"""Near-duplicates among a million vectors: ``python -m benchmarks.dedupe``.

``--rows`` unit vectors of ``--dimension`` in clusters (embeddings are never uniform), a tenth of them planted
near-copies. Ours (an inverted file, each pair compared exactly) against brute force on the same vectors, which is
timed on ``--queries`` of them and scaled up, and against SemDeDup's way (k-means cells, pairs within a cell; Abbas et
al. 2023). Prints seconds, peak memory, and the share of the planted pairs found.

Last printed, one core, 1,000,000 x 384, 100,000 planted near-copies, threshold 0.95:

    ours             633 s, recall 1.0000, dropped below the threshold 0, peak memory 3.4 GiB of which vectors 1.4
    brute force     8367 s (from 4,000 queries), recall 1
    k-means cells     26 s, recall 0.9973

So the inverted file misses nothing here and is 13 times faster than brute force; k-means cells are 24 times faster
still and miss one pair in 370, as each vector lies in one cell. A build searches target by target, far below a million.
"""

import argparse
import resource
import time
from itertools import pairwise

import faiss
import numpy as np

from datagen.dedupe import near_duplicates

THRESHOLD = 0.95


def vectors(rows: int, dimension: int, seed: int) -> tuple[np.ndarray, int]:
    """Unit vectors [rows, dimension], the last tenth near-copies of the first; and how many those are."""
    rng = np.random.default_rng(seed)
    copies = rows // 10
    base = rows - copies
    centres = rng.normal(size=(1000, dimension)).astype(np.float32)
    out = np.empty((rows, dimension), np.float32)
    for start in range(0, base, 50_000):
        end = min(start + 50_000, base)
        out[start:end] = centres[rng.integers(0, 1000, end - start)] + rng.normal(
            size=(end - start, dimension)
        ).astype(np.float32)
    out[base:] = out[:copies] + 0.2 * rng.normal(size=(copies, dimension)).astype(np.float32)
    faiss.normalize_L2(out)
    return out, copies


def cells(data: np.ndarray, copies: int) -> tuple[float, float]:
    """SemDeDup's way: k-means with rows / 1000 cells, then pairs within a cell. Seconds and recall."""
    began = time.perf_counter()
    rows = len(data)
    k = max(rows // 1000, 2)
    means = faiss.Kmeans(data.shape[1], k, niter=10, spherical=True, seed=0, max_points_per_centroid=64)
    means.train(data)
    assigned = means.index.search(data, 1)[1].ravel()
    order = np.argsort(assigned, kind="stable")
    bounds = np.searchsorted(assigned[order], np.arange(k + 1))
    gone = set()
    for a, b in pairwise(bounds):
        rows_here = order[a:b]
        pairs = np.argwhere(np.triu(data[rows_here] @ data[rows_here].T, 1) >= THRESHOLD)
        gone |= {int(rows_here[j]) for _, j in pairs}
    planted = range(rows - copies, rows)
    return time.perf_counter() - began, sum(i in gone for i in planted) / copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data, copies = vectors(args.rows, args.dimension, args.seed)
    truth = {i: i - (args.rows - copies) for i in range(args.rows - copies, args.rows)}
    print(
        f"{args.rows:,} x {args.dimension}, {copies:,} planted near-copies, threshold {THRESHOLD}", flush=True
    )

    began = time.perf_counter()
    gone = near_duplicates(data, range(args.rows), THRESHOLD)
    seconds = time.perf_counter() - began
    found = sum(gone.get(i) == keeper for i, keeper in truth.items())
    wrong = sum(float(data[a] @ data[b]) < THRESHOLD - 1e-5 for a, b in gone.items())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"ours         {seconds:8.0f} s, recall {found / copies:.4f}, dropped below the threshold {wrong}, "
        f"peak memory {memory:.1f} GiB of which vectors {data.nbytes / 2**30:.1f}",
        flush=True,
    )
    index = faiss.IndexFlatIP(args.dimension)
    index.add(data)
    began = time.perf_counter()
    index.range_search(data[: args.queries], THRESHOLD)
    brute = (time.perf_counter() - began) * args.rows / args.queries
    print(f"brute force  {brute:8.0f} s (from {args.queries:,} queries), recall 1", flush=True)
    del index
    took, recall = cells(data, copies)
    print(f"k-means cells{took:8.0f} s, recall {recall:.4f}")


if __name__ == "__main__":
    main()
