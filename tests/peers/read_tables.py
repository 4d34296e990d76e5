"""Opens and joins every table of a dataset in pyarrow, polars and DuckDB. usage: read_tables.py DATASET

Every table must have the rows that the manifest says, describe itself, and join with the triggers on t_ns without
losing a row. Prints one JSON line.
"""

import json
import pathlib
import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds


def main(folder):
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    triggers = ds.dataset(folder / "tables/triggers").to_table(columns=["t_ns", "trigger_index"]).sort_by("t_ns")
    left = triggers.rename_columns(["t_ns", "newest_trigger"])
    first, last = pc.min(left["t_ns"]).as_py(), pc.max(left["t_ns"]).as_py()
    assert last > first
    seen = {}
    for table, entry in manifest["tables"].items():
        path = folder / "tables" / table
        files = sorted(str(file) for file in path.glob("*.parquet"))
        assert len(files) == len(entry["parts"]), table
        rows = entry["rows"]

        dataset = ds.dataset(path, format="parquet")
        schema = dataset.schema
        assert schema.field("t_ns").metadata[b"unit"] == b"ns" and schema.field("t_ns").metadata[b"clock"] == b"rig"
        for field in schema:
            assert field.metadata and field.metadata[b"doc"], f"{table}.{field.name} does not describe itself"
        assert dataset.count_rows() == rows, table
        whole = dataset.to_table().sort_by("t_ns")
        assert whole.num_rows == rows
        keys = whole.select(["t_ns"]).append_column("row", pa.array(range(rows)))
        joined = keys.join_asof(left, on="t_ns", by=[], tolerance=-(2**62))
        assert joined.num_rows == rows, f"pyarrow: {table}"
        expected = joined["newest_trigger"].null_count

        frame = polars.scan_parquet(files).sort("t_ns")
        right = polars.from_arrow(left)
        joined = frame.select("t_ns").collect().join_asof(right, on="t_ns")
        assert joined.height == rows, f"polars: {table}"
        assert joined["newest_trigger"].null_count() == expected, f"polars: {table}"
        assert polars.scan_parquet(files).collect().height == rows

        query = f"""select count(*), count(b.trigger_index) from read_parquet('{path}/*.parquet') a
                    asof left join read_parquet('{folder}/tables/triggers/*.parquet') b on a.t_ns >= b.t_ns"""
        count, found = duckdb.sql(query).fetchall()[0]
        assert (count, count - found) == (rows, expected), f"duckdb: {table}: {count}, {found}"
        total = duckdb.sql(f"select sum(t_ns::hugeint) from '{path}/*.parquet'").fetchall()[0][0]
        assert total == pc.sum(pc.cast(whole["t_ns"], pa.decimal128(38, 0))).as_py(), table
        seen[table] = rows

    # What joins exactly: one row per frame set in pose, body and virtual.
    if {"pose", "body"} <= seen.keys():
        exact = f"""select count(*) from '{folder}/tables/body/*.parquet' b join '{folder}/tables/pose/*.parquet' p using (t_ns)"""
        assert duckdb.sql(exact).fetchall()[0][0] == seen["body"], "body rows without their pose"
    print(json.dumps({"tables": len(seen), "rows": sum(seen.values()), "pyarrow": pa.__version__,
                      "polars": polars.__version__, "duckdb": duckdb.__version__}))


if __name__ == "__main__":
    main(sys.argv[1])
