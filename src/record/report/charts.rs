//! Plots as SVG text.

use plotters::prelude::*;

const SIZE_PX: (u32, u32) = (560, 270);
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(140, 86, 75),
    RGBColor(23, 150, 170),
    RGBColor(110, 110, 110),
];
const FONT: (&str, u32) = ("sans-serif", 12);

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Line {
    pub(super) fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// A plot: its heading and its SVG.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) svg: String,
}

/// Lines over time; nothing when no line has a point.
pub(super) fn over_time(title: &str, y: &str, lines: &[Line]) -> Option<Chart> {
    lines_chart(title, "s of rig time", y, lines)
}

/// Bars with their names; nothing when there are none.
pub(super) fn bars(title: &str, y: &str, bars: &[(String, f64)]) -> Option<Chart> {
    if bars.is_empty() {
        return None;
    }
    let mut svg = String::new();
    draw_bars(&mut svg, y, bars).ok()?; // A string takes everything.
    Some(Chart { title: title.to_owned(), svg })
}

fn lines_chart(title: &str, x: &str, y: &str, lines: &[Line]) -> Option<Chart> {
    if lines.iter().all(|line| line.points.is_empty()) {
        return None;
    }
    let mut svg = String::new();
    draw_lines(&mut svg, x, y, lines).ok()?; // A string takes everything.
    Some(Chart { title: title.to_owned(), svg })
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_lines(svg: &mut String, x: &str, y: &str, lines: &[Line]) -> Drawn {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let low = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let high = all().map(|point| point.0).fold(low + 1e-3, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max);
    let bottom = all().map(|point| point.1).fold(0.0, f64::min);
    let top = if top > bottom { top } else { bottom + 1.0 };
    let area = SVGBackend::with_string(svg, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(32)
        .y_label_area_size(58)
        .build_cartesian_2d(low..high, bottom * 1.08..top * 1.12)?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.12))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_labels(8)
        .y_labels(6)
        .y_label_formatter(&|value| short(*value))
        .x_desc(x)
        .y_desc(y)
        .draw()?;
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let style = colour.stroke_width(if lines.len() > 8 { 1 } else { 2 });
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        if lines.len() > 1 {
            drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        if let [point] = line.points.as_slice() {
            chart.draw_series(std::iter::once(Circle::new(*point, 3, colour.filled())))?;
        }
    }
    if lines.len() > 1 {
        let labels = &mut chart.configure_series_labels();
        labels.label_font(FONT).background_style(WHITE.mix(0.75)).border_style(BLACK.mix(0.2));
        labels.position(SeriesLabelPosition::UpperRight).draw()?;
    }
    area.present()?;
    Ok(())
}

fn draw_bars(svg: &mut String, y: &str, bars: &[(String, f64)]) -> Drawn {
    let top = bars.iter().map(|bar| bar.1).fold(1e-9, f64::max);
    let area = SVGBackend::with_string(svg, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .x_label_area_size(32)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..bars.len() as f64, 0.0..top * 1.12)?;
    let name = |place: &f64| {
        let index = place.floor() as usize;
        let is_middle = (place - place.floor() - 0.5).abs() < 0.26;
        bars.get(index).filter(|_| is_middle || bars.len() > 12).map_or(String::new(), |bar| bar.0.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.12))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_labels((2 * bars.len() + 1).min(25))
        .x_label_formatter(&name)
        .y_labels(6)
        .y_label_formatter(&|value| short(*value))
        .y_desc(y)
        .draw()?;
    chart.draw_series(bars.iter().enumerate().map(|(index, bar)| {
        let (left, right) = (index as f64 + 0.12, index as f64 + 0.88);
        Rectangle::new([(left, 0.0), (right, bar.1)], COLOURS[0].filled())
    }))?;
    area.present()?;
    Ok(())
}

/// A number in a few characters.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
