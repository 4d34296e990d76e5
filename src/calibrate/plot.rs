//! Every camera's errors, drawn as arrows over its image.

use plotters::prelude::*;

use super::bundle::{Bundle, Corner};

const PANEL_PX: (u32, u32) = (440, 320);
const COLUMNS: usize = 3;
/// A 95th percentile error is drawn so long, as share of the image's width.
const ARROW_SHARE: f64 = 0.03;
const BLUE: RGBColor = RGBColor(31, 119, 180);
const RED: RGBColor = RGBColor(179, 38, 30);

/// The plot as SVG text; empty where it cannot be drawn. `fits` gives each camera's root mean square and 95th percentile,
/// pixels.
pub(super) fn errors(bundle: &Bundle, fits: &[[f64; 2]]) -> String {
    let mut text = String::new();
    if draw(&mut text, bundle, fits).is_err() {
        text.clear();
    }
    text
}

fn draw(text: &mut String, bundle: &Bundle, fits: &[[f64; 2]]) -> Result<(), Box<dyn std::error::Error>> {
    let rows = bundle.cameras.len().div_ceil(COLUMNS);
    let size = (PANEL_PX.0 * COLUMNS as u32, PANEL_PX.1 * rows as u32);
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((rows, COLUMNS));
    for (index, (camera, [rms_px, p95_px])) in bundle.cameras.iter().zip(fits).enumerate() {
        let (width, height) = (f64::from(camera.width_px), f64::from(camera.height_px));
        let times = ARROW_SHARE * width / p95_px.max(1e-6);
        let title = format!("{}: {rms_px:.3} px rms, errors {times:.0} times as long", camera.name);
        let mut chart = ChartBuilder::on(&panels[index])
            .caption(title, ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(34)
            .build_cartesian_2d(-0.5..width - 0.5, height - 0.5..-0.5)?;
        chart.configure_mesh().disable_mesh().x_labels(5).y_labels(5).draw()?;
        for view in bundle.views.iter().filter(|view| view.camera == index) {
            let arrow = |corner: &Corner| {
                let error = bundle.error_px(view, corner)? * times;
                let from = (corner.pixel.x, corner.pixel.y);
                Some(PathElement::new([from, (from.0 + error.x, from.1 + error.y)], BLUE.stroke_width(1)))
            };
            chart.draw_series(view.corners.iter().filter(|corner| !corner.dropped).filter_map(arrow))?;
            let cross = |corner: &Corner| Cross::new((corner.pixel.x, corner.pixel.y), 3, RED);
            chart.draw_series(view.corners.iter().filter(|corner| corner.dropped).map(cross))?;
        }
    }
    area.present()?;
    Ok(())
}
