"""Writes and reads a recorded array in pyarrow with the recorder's own layout. usage: write_tables.py DATASET

Prints megabytes of raw samples a second of processor time, one thread, beside the wall time of reading.
"""

import pathlib
import statistics
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

pa.set_cpu_count(1)
pa.set_io_thread_count(1)


def main(folder):
    parts = sorted((pathlib.Path(folder) / "tables/ephys_A").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(part) for part in parts]).combine_chunks()
    channels = [name for name in table.column_names if name.startswith("ch")]
    raw = table.num_rows * len(channels) * 2
    encoding = {name: "DELTA_BINARY_PACKED" for name in table.column_names if name != "integrity"}
    times, walls = [], []
    with tempfile.TemporaryDirectory() as home:
        for attempt in range(3):
            path = f"{home}/{attempt}.parquet"
            began, wall = time.process_time(), time.perf_counter()
            pq.write_table(table, path, row_group_size=30_000, compression="NONE", use_dictionary=["integrity"],
                           column_encoding=encoding)
            times.append(time.process_time() - began)
            walls.append(time.perf_counter() - wall)
        size = pathlib.Path(path).stat().st_size
    own = sum(part.stat().st_size for part in parts)
    write = statistics.median(times)
    print(f"pyarrow {pa.__version__}, same layout: {raw / write * 1e-6:.0f} MB/s per core written, {size / raw:.3f} of the raw size (ours {own / raw:.3f})")

    def read(columns):
        walls = []
        for _ in range(5):
            began = time.perf_counter()
            for part in parts:
                pq.read_table(part, columns=columns, use_threads=False)
            walls.append(time.perf_counter() - began)
        return statistics.median(walls)

    print(f"pyarrow reading ours: one channel {read(['ch064']) * 1e3:.1f} ms, all {len(channels)} {raw / read(channels) * 1e-6:.0f} MB/s")


if __name__ == "__main__":
    main(sys.argv[1])
