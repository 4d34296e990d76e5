//! Latency distributions as a picture: how many events take longer than a given time, on logarithmic axes, where the tail
//! can be read.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::pipeline::Echoes;

const SIZE_PX: (u32, u32) = (900, 560);
const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44)];
/// Points of a curve: enough for a smooth line of any number of events.
const POINTS: usize = 600;

/// Draws the share of events beyond each latency.
pub(super) fn draw(path: &Path, curves: &[(&str, &Echoes)]) -> Result<()> {
    try_draw(path, curves).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn try_draw(path: &Path, curves: &[(&str, &Echoes)]) -> Result<(), Box<dyn std::error::Error>> {
    let sorted: Vec<(String, Vec<f64>)> =
        curves.iter().map(|(name, echoes)| (legend(name, echoes), millis(echoes))).collect();
    let all = || sorted.iter().flat_map(|curve| curve.1.iter().copied());
    let (from, to) = (all().fold(f64::MAX, f64::min).max(1e-3), all().fold(1e-2, f64::max));
    let least = sorted.iter().map(|curve| curve.1.len()).max().unwrap_or(1).max(1);
    let area = SVGBackend::new(path, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Latency by echo, in board time", ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d((from * 0.9..to * 1.1).log_scale(), (0.5 / least as f64..1.0).log_scale())?;
    chart.configure_mesh().x_desc("latency, ms").y_desc("share of events that take longer").draw()?;
    for ((name, values), colour) in sorted.iter().zip(COLOURS.iter().cycle()) {
        let points = survival(values);
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

fn legend(name: &str, echoes: &Echoes) -> String {
    let ms = |share| echoes.quantile(share).map_or(f64::NAN, mimicd_device::Span::millis_f64);
    format!("{name}: N {}, p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms", echoes.latencies.len(), ms(0.5), ms(0.99), ms(0.999))
}

fn millis(echoes: &Echoes) -> Vec<f64> {
    let mut values: Vec<f64> = echoes.latencies.iter().map(|latency| latency.millis_f64().max(1e-3)).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Latency and the share of events beyond it; the tail is drawn event by event.
fn survival(values: &[f64]) -> Vec<(f64, f64)> {
    let count = values.len();
    let tail = count.saturating_sub(POINTS / 2);
    let step = (tail / (POINTS / 2)).max(1);
    (0..tail)
        .step_by(step)
        .chain(tail..count)
        .map(|rank| (values[rank], (count - rank) as f64 / count as f64))
        .collect()
}
