//! Curves as SVG.

use std::path::Path;

use plotters::prelude::*;

use super::run::{Row, Run};
use crate::imitation::ImitationError;

/// One curve: a name and its points.
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Points, in the axes' units.
    pub points: Vec<(f64, f64)>,
}

/// Width of a bin of time since reset, seconds.
const BIN_S: f64 = 0.25;
const SIZE_PX: (u32, u32) = (900, 540);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(90, 90, 90),
];

/// A quantity against the time since the last reset, averaged in bins of a quarter of a second.
pub(super) fn against_time_since_reset(name: &str, runs: &[Run], of: impl Fn(&Row) -> f64) -> Curve {
    let mut bins: Vec<(f64, usize)> = Vec::new();
    for row in runs.iter().flat_map(|run| &run.rows) {
        let bin = (row.since_reset_s / BIN_S) as usize;
        if bins.len() <= bin {
            bins.resize(bin + 1, (0.0, 0));
        }
        bins[bin].0 += of(row);
        bins[bin].1 += 1;
    }
    let filled = bins.iter().enumerate().filter(|(_, bin)| bin.1 > 0);
    let points = filled.map(|(index, bin)| ((index as f64 + 0.5) * BIN_S, bin.0 / bin.1 as f64)).collect();
    Curve { name: name.to_owned(), points }
}

/// Draws the curves to an SVG file.
///
/// # Errors
/// A file that cannot be written.
pub fn draw(path: &Path, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<(), ImitationError> {
    try_draw(path, title, x, y, curves)
        .map_err(|reason| ImitationError::Unreadable { path: path.to_owned(), reason: reason.to_string() })
}

fn try_draw(path: &Path, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let all = || curves.iter().flat_map(|curve| curve.points.iter());
    let x_max = all().map(|point| point.0).fold(1e-9, f64::max);
    let y_max = all().map(|point| point.1).fold(1e-9, f64::max);
    let area = SVGBackend::new(path, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..x_max * 1.02, 0.0..y_max * 1.1)?;
    chart.configure_mesh().x_desc(x).y_desc(y).draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
