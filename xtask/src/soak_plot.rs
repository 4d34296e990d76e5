//! What a soak saw, as a table and as a picture.

use std::fmt::Write as _;

/// One look at the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Which recording ran, from 0.
    pub(crate) recording: usize,
    /// Since the soak began.
    pub(crate) at_s: f64,
    /// Resident memory that only this process has.
    pub(crate) own_mb: f64,
    /// Resident pages of files: programs, libraries, models, and what is shared.
    pub(crate) file_mb: f64,
    /// Open file handles.
    pub(crate) handles: usize,
    /// Threads.
    pub(crate) threads: usize,
    /// The machine's load over the last minute.
    pub(crate) load: f64,
    /// Camera to action.
    pub(crate) p50_ms: f64,
    /// Camera to action.
    pub(crate) p99_ms: f64,
}

/// A colour and its values, one a sample.
type Line<'a> = (&'a str, Vec<f64>);

const WIDTH: f64 = 900.0;
const PANEL: f64 = 130.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 15.0;
const GAP: f64 = 34.0;

/// The samples as comma-separated values.
pub(crate) fn csv(samples: &[Sample]) -> String {
    let mut text = "recording,at_s,own_mb,file_mb,handles,threads,load,action_p50_ms,action_p99_ms\n".to_owned();
    for s in samples {
        let Sample { recording, at_s, own_mb, file_mb, handles, threads, load, p50_ms, p99_ms } = s;
        writeln!(
            text,
            "{recording},{at_s:.1},{own_mb:.1},{file_mb:.1},{handles},{threads},{load:.1},{p50_ms:.3},{p99_ms:.3}"
        )
        .expect("a string takes all");
    }
    text
}

/// The middle value; not a number for none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Four panels over one time axis; a tick below for each fault.
pub(crate) fn svg(samples: &[Sample], faults: &[(f64, String)]) -> String {
    let end_s = samples.last().map_or(1.0, |s| s.at_s);
    let panels: [(&str, Vec<Line<'_>>); 4] = [
        (
            "resident memory, MB: its own (blue), pages of files (orange)",
            vec![
                ("#0b6a8c", samples.iter().map(|s| s.own_mb).collect()),
                ("#a8520a", samples.iter().map(|s| s.file_mb).collect()),
            ],
        ),
        ("file handles", vec![("#0b6a8c", samples.iter().map(|s| s.handles as f64).collect())]),
        (
            "threads (blue), load of the machine (orange)",
            vec![
                ("#0b6a8c", samples.iter().map(|s| s.threads as f64).collect()),
                ("#a8520a", samples.iter().map(|s| s.load).collect()),
            ],
        ),
        (
            "camera to action, ms: p50 (blue), p99 (orange)",
            vec![
                ("#0b6a8c", samples.iter().map(|s| s.p50_ms).collect()),
                ("#a8520a", samples.iter().map(|s| s.p99_ms).collect()),
            ],
        ),
    ];
    let height = panels.len() as f64 * (PANEL + GAP) + 40.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
        <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let x = |at_s: f64| LEFT + at_s / end_s * (WIDTH - LEFT - RIGHT);
    for (index, (title, lines)) in panels.iter().enumerate() {
        let top = index as f64 * (PANEL + GAP) + GAP;
        panel(&mut text, top, title, lines, &samples.iter().map(|s| x(s.at_s)).collect::<Vec<_>>());
    }
    let base = height - 28.0;
    for (at, _) in faults.iter().filter(|(at, _)| *at <= end_s) {
        put(&mut text, format_args!("<path d=\"M{:.1} {:.1}v8\" stroke=\"#b3261e\"/>", x(*at), base - 12.0));
    }
    for tenth in 0..=5 {
        let at = end_s * f64::from(tenth) / 5.0;
        put(
            &mut text,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} min</text>",
                x(at),
                base + 14.0,
                at / 60.0
            ),
        );
    }
    put(&mut text, format_args!("<text x=\"4\" y=\"{:.1}\" fill=\"#b3261e\">faults</text>", base - 4.0));
    text + "</svg>\n"
}

fn panel(text: &mut String, top: f64, title: &str, lines: &[Line<'_>], xs: &[f64]) {
    let most =
        lines.iter().flat_map(|(_, values)| values).filter(|v| v.is_finite()).fold(1e-9_f64, |a, b| a.max(*b)) * 1.08;
    let y = |value: f64| top + PANEL - value / most * PANEL;
    put(text, format_args!("<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"600\">{title}</text>", top - 7.0));
    for part in [0.0, 0.5, 1.0] {
        let value = most * part;
        put(text, format_args!("<path d=\"M{LEFT} {:.1}H{:.1}\" stroke=\"#d3dade\"/>", y(value), WIDTH - RIGHT));
        put(
            text,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT - 6.0,
                y(value) + 4.0
            ),
        );
    }
    for (colour, values) in lines {
        let points: Vec<String> = xs
            .iter()
            .zip(values)
            .filter(|(_, value)| value.is_finite())
            .map(|(x, value)| format!("{x:.1},{:.1}", y(*value)))
            .collect();
        put(
            text,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
                points.join(" ")
            ),
        );
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_value_ignores_what_is_no_number() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0].into_iter()), 2.0);
        assert!(median(std::iter::empty()).is_nan());
    }
}
