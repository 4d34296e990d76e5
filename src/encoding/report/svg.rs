//! Small figures as SVG text.

use std::fmt::Write as _;

/// Colours of the families of feature sets.
pub(super) fn colour(family: &str) -> &'static str {
    match family {
        "kinematic" => "#2f6fb2",
        "dynamic" => "#c8781e",
        "network" => "#2b8a5a",
        _ => "#7a828a",
    }
}

/// Text that is safe inside markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A column of a strip chart: single values, and a mean with its interval.
pub(super) struct Strip {
    pub(super) name: String,
    pub(super) family: String,
    pub(super) values: Vec<f64>,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Steps of an axis: about `count` round numbers from `low` to `high`.
pub(super) fn ticks(low: f64, high: f64, count: f64) -> Vec<f64> {
    let rough = (high - low).max(1e-12) / count;
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (0..50).map(|at| (first + at) as f64 * step).take_while(|value| *value <= high + 1e-9 * step).collect()
}

struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    low: f64,
    high: f64,
}

impl Frame {
    /// Values beyond the axis lie on its edge.
    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.top + self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    fn axis(&self, out: &mut String, label: &str) {
        for tick in ticks(self.low, self.high, 5.0) {
            let y = self.y(tick);
            let shown = if tick.abs() < 1e-12 { 0.0 } else { tick };
            let decimals = if self.high - self.low < 0.05 { 3 } else { 2 };
            write!(
                out,
                "<line x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#5c6670\">{shown:.decimals$}</text>",
                self.left,
                self.left + self.width,
                if shown == 0.0 { "#8a939b" } else { "#e6eaee" },
                self.left - 6.0,
                y + 3.5
            )
            .expect("writing to a string");
        }
        write!(
            out,
            "<text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#5c6670\">{}</text>",
            self.top + self.height / 2.0,
            escape(label)
        )
        .expect("writing to a string");
    }
}

/// Values as dots, means with intervals beside them, and a band behind them all.
pub(super) fn strips(label: &str, strips: &[Strip], band: Option<(f64, f64)>) -> String {
    let all = strips
        .iter()
        .flat_map(|strip| strip.values.iter().copied().chain([strip.mean, strip.low, strip.high]))
        .chain(band.into_iter().flat_map(|(low, high)| [low, high]))
        .filter(|value| value.is_finite());
    let (low, high) = all.fold((0.0_f64, 1e-3_f64), |(low, high), value| (low.min(value), high.max(value)));
    // One set that fails badly must not flatten all others.
    let low = low.max(-2.0 * high.max(0.1));
    let margin = 0.05 * (high - low);
    let step = (920.0 / strips.len().max(1) as f64).clamp(26.0, 90.0);
    let width = step * strips.len() as f64;
    let frame = Frame { left: 58.0, top: 10.0, width, height: 210.0, low: low - margin, high: high + margin };
    let mut out = String::new();
    if let Some((low, high)) = band.filter(|band| band.0.is_finite() && band.1.is_finite()) {
        let (top, bottom) = (frame.y(high), frame.y(low));
        let height = (bottom - top).max(1.0);
        write!(
            out,
            "<rect x=\"{}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#dfe7d8\"/>",
            frame.left
        )
        .expect("writing to a string");
    }
    frame.axis(&mut out, label);
    for (at, strip) in strips.iter().enumerate() {
        let x = frame.left + step * (at as f64 + 0.5);
        frame.strip(&mut out, strip, x, step);
        frame.name(&mut out, &strip.name, x);
    }
    let names: Vec<&str> = strips.iter().map(|strip| strip.name.as_str()).collect();
    picture(frame.left + width + 12.0, frame.top + frame.height + slanted(&names), &out)
}

impl Frame {
    fn strip(&self, out: &mut String, strip: &Strip, middle: f64, step: f64) {
        let ink = colour(&strip.family);
        for (index, value) in strip.values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            // A fixed scatter: dots keep their place from one figure to the next.
            let x = middle + ((index * 37 % 23) as f64 / 22.0 - 0.5) * step * 0.42 - step * 0.14;
            let y = self.y(*value);
            write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\" fill=\"{ink}\" fill-opacity=\"0.38\"/>")
                .expect("writing to a string");
        }
        if !strip.mean.is_finite() {
            return;
        }
        let x = middle + if strip.values.is_empty() { 0.0 } else { step * 0.27 };
        if strip.low.is_finite() && strip.high.is_finite() {
            let (from, to) = (self.y(strip.low), self.y(strip.high));
            write!(
                out,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\" stroke=\"{ink}\" stroke-width=\"2\"/>"
            )
            .expect("writing to a string");
        }
        let y = self.y(strip.mean);
        write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{ink}\"/>").expect("writing to a string");
    }

    /// A name below the axis, slanted.
    fn name(&self, out: &mut String, name: &str, middle: f64) {
        let (x, y) = (middle + 4.0, self.top + self.height + 14.0);
        let name = escape(name);
        write!(out, "<text transform=\"translate({x:.1} {y:.1}) rotate(-35)\" text-anchor=\"end\">{name}</text>")
            .expect("writing to a string");
    }
}

/// Room that slanted names take below an axis.
fn slanted(names: &[&str]) -> f64 {
    26.0 + 3.7 * names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64
}

/// A matrix as coloured squares; NaN is grey.
pub(super) fn heatmap(rows: &[String], columns: &[String], values: &[Vec<f64>], cell: f64, numbers: bool) -> String {
    let known = values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = known.fold((0.0_f64, 1e-12_f64), |(low, high), value| (low.min(value), high.max(value)));
    let widest = |names: &[String]| names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
    // Small numbers keep two digits that differ.
    let (decimals, size) = if high >= 0.2 {
        (2, 10)
    } else if high >= 0.02 {
        (3, 10)
    } else {
        (4, 9)
    };
    let (left, top) = (widest(rows) * 6.9 + 10.0, if columns.is_empty() { 4.0 } else { widest(columns) * 4.4 + 14.0 });
    let mut out = String::new();
    for (at, row) in values.iter().enumerate() {
        let y = top + at as f64 * cell;
        if let Some(name) = rows.get(at) {
            write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 5.0,
                y + cell / 2.0 + 4.0,
                escape(name)
            )
            .expect("writing to a string");
        }
        for (column, value) in row.iter().enumerate() {
            let x = left + column as f64 * cell;
            let share = (value - low) / (high - low);
            let fill = if value.is_finite() { shade(share) } else { "#c9cfd5".to_owned() };
            write!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell}\" height=\"{cell}\" fill=\"{fill}\"><title>{value:.4}</title></rect>")
                .expect("writing to a string");
            if numbers && value.is_finite() {
                let ink = if share > 0.55 { "#ffffff" } else { "#1b1f24" };
                write!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{ink}\" font-size=\"{size}\">{value:.decimals$}</text>",
                    x + cell / 2.0,
                    y + cell / 2.0 + 3.5
                )
                .expect("writing to a string");
            }
        }
    }
    for (at, name) in columns.iter().enumerate() {
        let x = left + (at as f64 + 0.5) * cell;
        write!(out, "<text transform=\"translate({x:.1} {:.1}) rotate(-40)\">{}</text>", top - 5.0, escape(name))
            .expect("writing to a string");
    }
    let width = values.first().map_or(0, Vec::len) as f64 * cell;
    picture(left + width + widest(columns).min(12.0) * 4.5 + 6.0, top + values.len() as f64 * cell + 6.0, &out)
}

/// Bars, one a name.
pub(super) fn bars(label: &str, names: &[String], values: &[f64], ink: &str) -> String {
    let high = values.iter().copied().filter(|value| value.is_finite()).fold(1e-9, f64::max);
    let step = 46.0;
    let frame =
        Frame { left: 58.0, top: 10.0, width: step * names.len() as f64, height: 150.0, low: 0.0, high: high * 1.05 };
    let mut out = String::new();
    frame.axis(&mut out, label);
    for (at, (name, value)) in names.iter().zip(values).enumerate() {
        let x = frame.left + at as f64 * step;
        if value.is_finite() {
            let y = frame.y(*value);
            write!(
                out,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{ink}\"><title>{value:.4}</title></rect>",
                x + 8.0,
                step - 16.0,
                frame.y(0.0) - y
            )
            .expect("writing to a string");
        }
        frame.name(&mut out, name, x + step / 2.0);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    picture(frame.left + frame.width + 12.0, frame.top + frame.height + slanted(&names), &out)
}

/// From white over blue to dark.
fn shade(share: f64) -> String {
    let stops = [[247.0, 250.0, 252.0], [120.0, 170.0, 208.0], [16.0, 44.0, 84.0]];
    let at = share.clamp(0.0, 1.0) * 2.0;
    let (from, part) = if at < 1.0 { (0, at) } else { (1, at - 1.0) };
    let mixed: [u8; 3] =
        std::array::from_fn(|c| (stops[from][c] + (stops[from + 1][c] - stops[from][c]) * part).round() as u8);
    format!("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2])
}

fn picture(width: f64, height: f64, inner: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\">{inner}</svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-0.03, 0.11, 5.0).len(), 3);
        assert!(ticks(0.0, 1.0, 5.0).iter().all(|t| (t * 5.0 - (t * 5.0).round()).abs() < 1e-9));
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let figure = heatmap(&["<b>&".to_owned()], &[], &[vec![f64::NAN, 1.0]], 20.0, true);
        assert!(figure.contains("&lt;b&gt;&amp;") && !figure.contains("<b>"));
    }
}
