"""Writes the NWB specifications that `mimicd export --to nwb` embeds, from the installed pynwb and ndx-pose.

usage: nwb_specifications.py OUT.json
The file maps "<namespace>/<version>/<source>" to the specification's JSON text, as pynwb itself would embed it.
"""

import datetime
import json
import os
import sys
import tempfile

import h5py
import ndx_pose
from pynwb import NWBFile, NWBHDF5IO


def main(out):
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    file = NWBFile(session_description="s", identifier="i", session_start_time=start)
    skeleton = ndx_pose.Skeleton(name="s", nodes=["a", "b"])
    module = file.create_processing_module(name="behavior", description="d")
    module.add(ndx_pose.Skeletons(skeletons=[skeleton]))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.nwb")
        with NWBHDF5IO(path, "w") as io:
            io.write(file)
        texts = {}
        with h5py.File(path) as h5:
            for namespace, versions in h5["specifications"].items():
                for version, sources in versions.items():
                    for source, data in sources.items():
                        texts[f"{namespace}/{version}/{source}"] = data.asstr()[()]
    os.makedirs(os.path.dirname(out) or ".", exist_ok=True)
    with open(out, "w") as handle:
        json.dump(texts, handle)


if __name__ == "__main__":
    main(sys.argv[1])
