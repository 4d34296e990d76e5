//! The report on one screen.

use std::fmt;

use super::{ColumnStats, ExposureAccount, VerifyReport};

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = format!("{:?}", self.stage).to_lowercase();
        writeln!(
            f,
            "{}  {stage}, {:.1} s, {} files, {:.1} MB",
            self.recording,
            self.seconds,
            self.files_good,
            self.bytes as f64 * 1e-6
        )?;
        self.streams(f)?;
        if !self.gaps.is_empty() {
            writeln!(f, "gaps")?;
        }
        for (name, (count, items)) in &self.gaps {
            writeln!(f, "  {name:<44} {count} gaps, {items} items")?;
        }
        columns(f, "clock residual", &self.sync)?;
        columns(f, "latency from mid-exposure", &self.latency)?;
        columns(f, "time in each stage", &self.stages)?;
        columns(f, "residuals and errors", &self.errors)?;
        columns(f, "against truth", &self.truth)?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let rows: Vec<_> = self.rows.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
        writeln!(f, "rows    {}", rows.join(", "))?;
        for problem in &self.problems {
            writeln!(f, "PROBLEM {problem}")?;
        }
        writeln!(f, "{}", if self.ok() { "everything adds up" } else { "this dataset does NOT add up" })
    }
}

impl VerifyReport {
    fn streams(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for t in &self.triggers {
            writeln!(
                f,
                "triggers         span {}, heard of {}, declared {}, undeclared {}",
                t.span, t.heard, t.declared, t.undeclared
            )?;
        }
        if !self.cameras.is_empty() {
            writeln!(f, "camera           triggers  frames  declared  undeclared  duplicate  unproved     Hz")?;
        }
        for c in &self.cameras {
            writeln!(
                f,
                "  {:<14} {:>8} {:>7} {:>9} {:>11} {:>10} {:>9} {:>6.2}",
                c.name, c.triggers, c.frames, c.declared, c.undeclared, c.duplicates, c.unmatched, c.rate_hz
            )?;
        }
        if !self.arrays.is_empty() {
            writeln!(f, "array                span    samples  declared  undeclared  repeated        Hz")?;
        }
        for a in &self.arrays {
            writeln!(
                f,
                "  {:<14} {:>8} {:>10} {:>9} {:>11} {:>9} {:>9.2}",
                a.name, a.span, a.samples, a.declared, a.undeclared, a.repeated, a.rate_hz
            )?;
        }
        self.exposures(f)?;
        for v in &self.videos {
            writeln!(f, "  {:<28} {} frames, {} rows, {} declared", v.file, v.counted, v.rows, v.declared)?;
        }
        Ok(())
    }

    /// A line for each array: cameras together, a wrong one is a problem of its own.
    fn exposures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for same in self.exposures.chunk_by(|a, b| a.array == b.array) {
            let sum = |part: fn(&ExposureAccount) -> u64| same.iter().map(part).sum::<u64>();
            let (checked, silent) = (sum(|account| account.checked), sum(|account| account.silent));
            writeln!(
                f,
                "  exposure lines in {}: {} of {checked} frames have theirs; {} exposures without a frame",
                same[0].array,
                checked - silent,
                sum(|account| account.frameless)
            )?;
        }
        Ok(())
    }
}

fn columns(f: &mut fmt::Formatter<'_>, title: &str, columns: &[ColumnStats]) -> fmt::Result {
    if columns.iter().all(|column| column.values.count == 0) {
        return Ok(());
    }
    writeln!(f, "{title:<34}      mean       p50       p99     p99.9       max  unit      n")?;
    for column in columns.iter().filter(|column| column.values.count > 0) {
        let (v, (scale, unit)) = (column.values, readable(&column.unit));
        let number = |value: f64| format!("{:>9.3}", value * scale);
        let numbers = [v.mean, v.p50, v.p99, v.p999, v.max].map(number).join(" ");
        writeln!(f, "  {:<32} {numbers}  {unit:<4} {:>6}", column.name, v.count)?;
    }
    Ok(())
}

/// Units that fit the size of usual values.
fn readable(unit: &str) -> (f64, &str) {
    match unit {
        "m" => (1e3, "mm"),
        "us" => (1e-3, "ms"),
        "ns" => (1e-3, "us"),
        other => (1.0, other),
    }
}
