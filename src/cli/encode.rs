//! `mimicd encode`: which features predict the spikes of a recording.

use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::encoding::{EncodeOptions, Encoded};

/// Analyses and prints what came of it.
pub(super) fn run(options: &EncodeOptions) -> Result<ExitCode> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} fits, {eta} left") {
        bar.set_style(style);
    }
    let done = crate::encoding::encode(options, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&done.analysis)?);
    } else {
        print(&done);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(done: &Encoded) {
    let analysis = &done.analysis;
    let encoding = &analysis.encoding;
    let kind = if analysis.sorted { "units" } else { "tetrodes (unsorted)" };
    println!(
        "{}: {:.1} min, {} {kind}, look-ahead of {:.0} ms taken out",
        analysis.recording,
        analysis.seconds / 60.0,
        encoding.units.len(),
        analysis.lag_millis
    );
    println!("  {:<24}{:>10}{:>14}{:>12}{:>10}", "feature set", "features", "bits/spike", "predicted", "best for");
    for (at, set) in encoding.sets.iter().enumerate() {
        let known: Vec<f64> = encoding.scores[at]
            .iter()
            .map(|score| score.bits_per_spike.value)
            .filter(|value| value.is_finite())
            .collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let predicted = encoding.scores[at].iter().filter(|score| score.predicts()).count();
        let best = encoding.best.iter().filter(|best| **best == Some(at)).count();
        println!("  {:<24}{:>10}{:>14.4}{:>12}{:>10}", set.name, set.columns, mean, predicted, best);
    }
    if encoding.unfinished > 0 {
        println!("  {} of {} fits are not at their minimum", encoding.unfinished, encoding.fits);
    }
    for of in &analysis.similarity {
        let name = analysis.arrays.get(usize::from(of.array)).map_or("?", String::as_str);
        let ceiling = of.ceiling.map_or("unknown".to_owned(), |c| format!("{:.2} to {:.2}", c.low, c.high));
        println!("  similarity to array {name} (ceiling {ceiling}):");
        for layer in &of.layers {
            println!("    {:<22}{:>8.3}", layer.name, layer.similarity);
        }
    }
    if analysis.behaviours.is_empty() {
        println!("  no behaviour labels: give --classifier or --labels for similarity and variability");
    }
    println!("  report  {}", done.folder.join("report.html").display());
}
