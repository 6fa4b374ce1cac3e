"""Near-duplicates among a million vectors: ``python -m benchmarks.dedupe``.

``--rows`` unit vectors of ``--dimension`` in clusters (embeddings are never uniform), a tenth of them planted
near-copies. Ours (an inverted file, each pair compared exactly) against brute force on the same vectors, which is
timed on ``--queries`` of them and scaled up, and against SemDeDup's way (k-means cells, pairs within a cell; Abbas et
al. 2023). Prints seconds, peak memory, and the share of the planted pairs found.

``--sharded`` adds a build's way, over ``--workers``: vectors that lie in a file go to buckets by their target, which
here is the cluster they were drawn from, and each worker decides about a bucket at a time.

Last printed, two cores (``--sharded``), 1,000,000 x 384, 100,000 planted near-copies, threshold 0.95:

    ours             102 s, recall 1.0000, dropped below the threshold 0, peak memory 5.0 GiB of which vectors 1.4
    by target         10 s, recall 1.0000, dropped below the threshold 0, peak memory 1.7 GiB of a worker, 2 workers
    brute force     2889 s (from 4,000 queries), recall 1
    k-means cells     12 s, recall 0.9973

So the inverted file misses nothing here and is 28 times faster than brute force; k-means cells are 8 times faster
still and miss one pair in 370, as each vector lies in one cell. A build, which searches target by target, takes as
long as they do and misses nothing.
"""

import argparse
import resource
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np

from datagen.neighbours import near_duplicates
from datagen.workers import run_jobs

THRESHOLD = 0.95
CLUSTERS, BUCKETS = 1000, 64


def vectors(rows: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Unit vectors [rows, dimension], the last tenth near-copies of the first; their clusters; how many copies."""
    rng = np.random.default_rng(seed)
    copies = rows // 10
    base = rows - copies
    centres = rng.normal(size=(CLUSTERS, dimension)).astype(np.float32)
    out, cluster = np.empty((rows, dimension), np.float32), np.empty(rows, np.int64)
    for start in range(0, base, 50_000):
        end = min(start + 50_000, base)
        cluster[start:end] = rng.integers(0, CLUSTERS, end - start)
        noise = rng.normal(size=(end - start, dimension)).astype(np.float32)
        out[start:end] = centres[cluster[start:end]] + noise
    cluster[base:] = cluster[:copies]
    out[base:] = out[:copies] + 0.2 * rng.normal(size=(copies, dimension)).astype(np.float32)
    faiss.normalize_L2(out)
    return out, cluster, copies


class Bucket:
    """The near-duplicates of one bucket of targets, each target by itself."""

    def __init__(self, folder: Path) -> None:
        faiss.omp_set_num_threads(1)
        self.data = np.load(folder / "vectors.npy", mmap_mode="r")
        self.target = np.load(folder / "targets.npy")

    def __call__(self, bucket: int) -> tuple[dict[int, int], float]:
        """``{dropped: keeper}``, and this process's greatest memory in GiB."""
        gone: dict[int, int] = {}
        for target in range(bucket, CLUSTERS, BUCKETS):
            rows = np.flatnonzero(self.target == target)
            found = near_duplicates(self.data[rows], range(len(rows)), THRESHOLD)
            gone |= {int(rows[a]): int(rows[b]) for a, b in found.items()}
        return gone, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def sharded(data: np.ndarray, target: np.ndarray, workers: int) -> tuple[dict[int, int], float, float]:
    """``{dropped: keeper}``, seconds without the workers' start, and a worker's greatest memory in GiB."""
    gone: dict[int, int] = {}
    most, began = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        np.save(Path(name) / "vectors.npy", data)
        np.save(Path(name) / "targets.npy", target)
        for done, (_, (found, memory)) in enumerate(
            run_jobs(partial(Bucket, Path(name)), range(BUCKETS), workers), 1
        ):
            began = time.perf_counter() if done <= workers else began
            gone |= found
            most = max(most, memory)
    counted = max(BUCKETS - workers, 1) / BUCKETS
    return gone, (time.perf_counter() - began) / counted, most


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
    parser.add_argument("--sharded", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    data, target, copies = vectors(args.rows, args.dimension, args.seed)
    truth = {i: i - (args.rows - copies) for i in range(args.rows - copies, args.rows)}
    print(
        f"{args.rows:,} x {args.dimension}, {copies:,} planted near-copies, threshold {THRESHOLD}", flush=True
    )

    def tell(name: str, gone: dict[int, int], seconds: float, memory: str) -> None:
        found = sum(gone.get(i) == keeper for i, keeper in truth.items())
        wrong = sum(float(data[a] @ data[b]) < THRESHOLD - 1e-5 for a, b in gone.items())
        print(
            f"{name:<13}{seconds:8.0f} s, recall {found / copies:.4f}, dropped below the threshold {wrong}, "
            f"peak memory {memory}",
            flush=True,
        )

    began = time.perf_counter()
    gone = near_duplicates(data, range(args.rows), THRESHOLD)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tell("ours", gone, seconds, f"{memory:.1f} GiB of which vectors {data.nbytes / 2**30:.1f}")
    if args.sharded:
        gone, seconds, memory = sharded(data, target, args.workers)
        tell("by target", gone, seconds, f"{memory:.1f} GiB of a worker, {args.workers} workers")
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
