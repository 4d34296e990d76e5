"""Training curves of a run as one PNG.

    python curves.py --run runs/policy --out ../../models/policy-clone/training.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def read(file):
    return np.genfromtxt(file, delimiter=",", names=True, dtype=float)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    stages = [stage for stage in ("clone", "ppo") if (args.run / f"{stage}.csv").exists()]
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), constrained_layout=True)
    panels = [("reward", "reward per step"), ("falls_per_s", "falls and losses of track per second"), ("loss", "cloning loss"), ("prior", "divergence from the prior, nats")]
    for axis, (column, title) in zip(axes.flat, panels):
        for stage in stages:
            rows = read(args.run / f"{stage}.csv")
            if column in rows.dtype.names:
                axis.plot(rows["steps"] / 1e3, rows[column], lw=1, label=stage)
        axis.set(title=title, xlabel="control steps seen, thousands")
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0, 1].set_ylim(bottom=0)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
