"""Writes qpos rows of the real reference clips (JSON, gzipped) as .npy for `training_views --qpos`.

    python poses.py CLIPS.json.gz OUT.npy [first-clip last-clip]
"""

import gzip
import json
import sys

import numpy as np

clips = json.load(gzip.open(sys.argv[1]))
clips = clips["clips"] if isinstance(clips, dict) and "clips" in clips else clips
first, last = (int(v) for v in sys.argv[3:5]) if len(sys.argv) > 3 else (0, len(clips))
rows = np.concatenate([np.asarray(clip["qpos"], dtype=np.float32) for clip in list(clips)[first:last]])
np.save(sys.argv[2], rows)
print(rows.shape)
