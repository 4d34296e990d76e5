//! One self-contained HTML page for a recording: the paper's panels for one's own animal.

mod panels;
mod svg;

use std::fmt::Write as _;

use super::analysis::Analysis;
use super::settings::EncodingSettings;

const STYLE: &str = "
:root { color-scheme: light; --ink: #1b1f24; --soft: #5c6670; --line: #d9dee3; --card: #ffffff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink); font: 14px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 0 0 2px; } h3 { font-size: 13px; margin: 14px 0 4px; }
p { margin: 4px 0 10px; color: var(--soft); max-width: 90ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin-top: 16px; }
.row { display: flex; flex-wrap: wrap; gap: 18px 26px; align-items: flex-start; }
figure { margin: 0; } figcaption { font-size: 12px; color: var(--soft); max-width: 270px; }
svg { display: block; max-width: 100%; height: auto; font: 11px system-ui, sans-serif; }
table { border-collapse: collapse; font-size: 12px; margin-top: 8px; } th, td { padding: 2px 9px 2px 0; text-align: right; }
th { font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; } tr + tr { border-top: 1px solid var(--line); }
.facts { display: flex; flex-wrap: wrap; gap: 6px 26px; margin-top: 8px; } .facts b { font-weight: 600; }
";

/// The page.
pub fn page(analysis: &Analysis, settings: &EncodingSettings) -> String {
    let mut body = String::new();
    head(&mut body, analysis, settings);
    panels::encoding(&mut body, analysis);
    panels::similarity(&mut body, analysis);
    panels::variability(&mut body, analysis);
    panels::behaviours(&mut body, analysis);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Encoding: {}</title><style>{STYLE}</style></head><body><main>\n{body}</main></body></html>\n",
        svg::escape(&analysis.recording)
    )
}

/// The page's figures as files: name and SVG text.
pub fn figures(analysis: &Analysis) -> Vec<(String, String)> {
    panels::figures(analysis)
}

fn head(out: &mut String, analysis: &Analysis, settings: &EncodingSettings) {
    let glm = settings.glm;
    let unit = if analysis.sorted { "sorted units" } else { "tetrodes (spikes are not sorted)" };
    let facts = [
        (
            "length",
            format!(
                "{:.1} min, {} bins of {} ms",
                analysis.seconds / 60.0,
                analysis.bins,
                settings.grid.bin_ns / 1_000_000
            ),
        ),
        ("units", format!("{} {unit}", analysis.encoding.units.len())),
        ("look-ahead taken out", format!("{:.0} ms (mean)", analysis.lag_millis)),
        (
            "model",
            format!(
                "Poisson, PCA to {:.0} %, {} bins, elastic net {} (L1 share {})",
                glm.variance_share * 100.0,
                glm.window_bins,
                glm.strength,
                glm.mixing
            ),
        ),
        (
            "cross-validation",
            format!(
                "{} folds of {:.1}-s blocks",
                settings.folds.count,
                settings.folds.block_bins as f64 * settings.grid.bin_ns as f64 * 1e-9
            ),
        ),
        ("fits", format!("{}, {} not at their minimum", analysis.encoding.fits, analysis.encoding.unfinished)),
    ];
    write!(out, "<h1>Neural encoding: {}</h1><div class=\"facts\">", svg::escape(&analysis.recording))
        .expect("writing to a string");
    for (name, value) in facts {
        write!(out, "<span><b>{name}</b> {}</span>", svg::escape(&value)).expect("writing to a string");
    }
    out.push_str("</div>\n");
}
