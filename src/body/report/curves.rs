//! Curves and skeletons as SVG text.

use plotters::prelude::*;

/// One curve: a name and its points, in the axes' units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Text beside some points.
    pub(super) labels: Vec<((f64, f64), String)>,
}

/// What a plot is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axes<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// A line across: the goal, and its name.
    pub(super) goal: Option<(f64, &'a str)>,
}

const SIZE_PX: (u32, u32) = (720, 380);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 92, 39), RGBColor(44, 140, 80), RGBColor(128, 96, 168)];
const GREY: RGBColor = RGBColor(130, 130, 130);

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws curves; an empty text where there is nothing to draw.
pub(super) fn plot(axes: Axes<'_>, curves: &[Curve]) -> String {
    let mut text = String::new();
    if try_plot(&mut text, axes, curves).is_err() {
        text.clear();
    }
    text
}

fn try_plot(text: &mut String, axes: Axes<'_>, curves: &[Curve]) -> Drawn {
    let all = || curves.iter().flat_map(|curve| curve.points.iter());
    let x_max = all().map(|point| point.0).fold(1e-9, f64::max);
    let y_max = all().map(|point| point.1).chain(axes.goal.map(|goal| goal.0)).fold(1e-9, f64::max);
    let area = SVGBackend::with_string(text, SIZE_PX).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(axes.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..x_max * 1.08, 0.0..y_max * 1.15)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc(axes.x).y_desc(axes.y).draw()?;
    if let Some((goal, name)) = axes.goal {
        chart.draw_series(DashedLineSeries::new([(0.0, goal), (x_max * 1.08, goal)], 6, 4, GREY.stroke_width(1)))?;
        chart.draw_series([Text::new(name.to_owned(), (x_max * 0.72, goal * 1.05), ("sans-serif", 13).into_font())])?;
    }
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let line = chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        if curves.len() > 1 {
            line.label(&curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
        let beside = |((x, y), label): &((f64, f64), String)| {
            Text::new(label.clone(), (x + 0.012 * x_max, y + 0.05 * y_max), ("sans-serif", 12).into_font())
        };
        chart.draw_series(curve.labels.iter().map(beside))?;
    }
    if curves.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(GREY)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

/// A frame seen from the side of the animal and from above: keypoints and their places on the body, millimetres, with lines
/// from each keypoint to its place.
pub(super) fn skeleton(title: &str, seen_mm: &[[f64; 3]], fitted_mm: &[[f64; 3]], bones: &[(usize, usize)]) -> String {
    let mut text = String::new();
    if try_skeleton(&mut text, title, seen_mm, fitted_mm, bones).is_err() {
        text.clear();
    }
    text
}

fn try_skeleton(
    text: &mut String,
    title: &str,
    seen: &[[f64; 3]],
    fitted: &[[f64; 3]],
    bones: &[(usize, usize)],
) -> Drawn {
    let area = SVGBackend::with_string(text, (720, 300)).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 15))?;
    for (part, up) in area.split_evenly((1, 2)).iter().zip([2, 1]) {
        let of = |point: &[f64; 3]| (point[0], point[up]);
        let all = || seen.iter().chain(fitted).filter(|point| point[0].is_finite());
        let low = all().fold((f64::MAX, f64::MAX), |low, point| (low.0.min(of(point).0), low.1.min(of(point).1)));
        let high = all().fold((f64::MIN, f64::MIN), |high, point| (high.0.max(of(point).0), high.1.max(of(point).1)));
        // The same millimetres both ways.
        let half = 0.56 * f64::max((high.0 - low.0) / 350.0, (high.1 - low.1) / 250.0);
        let centre = (0.5 * (low.0 + high.0), 0.5 * (low.1 + high.1));
        let mut chart = ChartBuilder::on(part).margin(4).build_cartesian_2d(
            centre.0 - 350.0 * half..centre.0 + 350.0 * half,
            centre.1 - 250.0 * half..centre.1 + 250.0 * half,
        )?;
        for (points, colour) in [(seen, COLOURS[0]), (fitted, COLOURS[1])] {
            let there = |index: usize| points.get(index).filter(|point| point[0].is_finite()).map(of);
            let bone =
                |&(a, b): &(usize, usize)| Some(PathElement::new([there(a)?, there(b)?], colour.stroke_width(2)));
            chart.draw_series(bones.iter().filter_map(bone))?;
            chart
                .draw_series((0..points.len()).filter_map(there).map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        let apart = seen.iter().zip(fitted).filter(|(a, _)| a[0].is_finite());
        chart.draw_series(apart.map(|(a, b)| PathElement::new([of(a), of(b)], BLACK.stroke_width(1))))?;
    }
    area.present()?;
    Ok(())
}
