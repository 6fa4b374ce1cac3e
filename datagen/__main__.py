"""``python -m datagen``, for launchers that start modules: ``torchrun --nproc-per-node 8 -m datagen train``."""

from datagen.cli import main

if __name__ == "__main__":
    main()
