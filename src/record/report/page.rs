//! The page's HTML.

use std::fmt::Write as _;

use super::charts::Chart;
use crate::record::manifest::{GapEntry, Manifest};
use crate::record::verify::{ColumnStats, VerifyReport};

/// Gaps listed one by one; all of them are in the gaps table.
const GAPS_MAX: usize = 200;

const STYLE: &str = "
:root{--ink:#1c2330;--soft:#5b6678;--line:#dde2ea;--good:#1c7c3c;--bad:#b3261e;--paper:#fff;--ground:#f4f6f9}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:14px/1.5 system-ui,sans-serif}
main{max-width:1220px;margin:0 auto;padding:24px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:28px 0 10px}
p{margin:4px 0;color:var(--soft)}
.verdict{border-left:5px solid var(--good);background:var(--paper);padding:12px 16px;margin:16px 0;border-radius:4px}
.verdict.bad{border-color:var(--bad)}.verdict b{color:var(--good)}.verdict.bad b{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:10px 12px}
.tile span{display:block;color:var(--soft);font-size:12px}.tile b{font-size:18px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(520px,1fr));gap:14px}
figure{margin:0;background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:10px}
figcaption{font-weight:600;margin-bottom:4px}
figure svg{width:100%;height:auto;display:block}
table{border-collapse:collapse;width:100%;background:var(--paper);border:1px solid var(--line)}
th,td{padding:4px 10px;text-align:right;border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums}
th{background:#eef1f6;font-weight:600}th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}
details{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:8px 12px;margin-top:10px}
pre{overflow:auto;font-size:12px}
@media(max-width:560px){.plots{grid-template-columns:1fr}main{padding:12px}}
@media print{body{background:#fff}figure,tr{break-inside:avoid}}
";

/// The whole page.
pub(super) fn html(manifest: &Manifest, verdict: &VerifyReport, charts: &[Chart]) -> String {
    let info = &manifest.info;
    let title = escape(&info.recording);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>\n<h1>{title}</h1>\n"
    );
    let stage = format!("{:?}", manifest.stage).to_lowercase();
    let about = format!(
        "subject {} · rig {} · started {} · {stage} · {}",
        info.subject, info.rig, info.started_utc, info.software
    );
    put(&mut page, &format!("<p>{}</p>\n", escape(&about)));
    put(&mut page, &judgement(verdict));
    put(&mut page, &tiles(manifest, verdict));
    put(&mut page, "<h2>Reconciliation</h2>\n");
    put(&mut page, &streams(verdict));
    put(&mut page, "<h2>Over the recording</h2>\n<div class=\"plots\">\n");
    for chart in charts {
        put(&mut page, &format!("<figure><figcaption>{}</figcaption>{}</figure>\n", escape(&chart.title), chart.svg));
    }
    put(&mut page, "</div>\n<h2>Distributions</h2>\n");
    let groups = [
        ("Latency from mid-exposure", &verdict.latency),
        ("Clock residuals", &verdict.sync),
        ("Residuals and errors", &verdict.errors),
        ("Against the simulated rig's truth", &verdict.truth),
    ];
    for (heading, columns) in groups {
        put(&mut page, &distribution(heading, columns));
    }
    put(&mut page, &gaps(&manifest.gaps));
    put(&mut page, &provenance(manifest));
    put(&mut page, "</main></body></html>\n");
    page
}

fn put(page: &mut String, text: &str) {
    page.push_str(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn judgement(verdict: &VerifyReport) -> String {
    if verdict.ok() {
        let text =
            "triggers = frames + declared gaps, samples = span − declared gaps, video frames = rows, hashes match.";
        return format!("<div class=\"verdict\"><b>Everything adds up.</b> {text}</div>\n");
    }
    let problems =
        verdict.problems.iter().fold(String::new(), |text, problem| text + "<li>" + &escape(problem) + "</li>");
    format!("<div class=\"verdict bad\"><b>This dataset does not add up.</b><ul>{problems}</ul></div>\n")
}

fn tiles(manifest: &Manifest, verdict: &VerifyReport) -> String {
    let latency = verdict.latency.last().map(|column| column.values);
    let in_ms = |micros: f64| format!("{:.1} ms", micros * 1e-3);
    let frames: u64 = verdict.cameras.iter().map(|camera| camera.frames).sum();
    let samples: u64 = verdict.arrays.iter().map(|array| array.samples).sum();
    let facts = [
        ("duration", format!("{:.1} s", verdict.seconds)),
        ("frames", frames.to_string()),
        ("samples per channel", samples.to_string()),
        ("gaps, all declared", manifest.gaps.len().to_string()),
        ("latency p50", latency.map_or("–".to_owned(), |values| in_ms(values.p50))),
        ("latency p99", latency.map_or("–".to_owned(), |values| in_ms(values.p99))),
        ("spikes", verdict.rows.get("spikes").copied().unwrap_or(0).to_string()),
        ("size", format!("{:.1} MB", verdict.bytes as f64 * 1e-6)),
    ];
    let tiles = facts.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("<div class=\"tile\"><span>{name}</span><b>{value}</b></div>")
    });
    format!("<div class=\"tiles\">{tiles}</div>\n")
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head: String = head.iter().map(|name| format!("<th>{name}</th>")).collect();
    let cells = |row: &Vec<String>| row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect::<String>();
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row))).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n")
}

fn streams(verdict: &VerifyReport) -> String {
    let cameras: Vec<_> = verdict
        .cameras
        .iter()
        .map(|c| {
            let counts = [c.triggers, c.frames, c.declared, c.undeclared, c.duplicates, c.unmatched];
            row(&c.name, &counts, &format!("{:.3}", c.rate_hz))
        })
        .collect();
    let arrays: Vec<_> = verdict
        .arrays
        .iter()
        .map(|a| row(&a.name, &[a.span, a.samples, a.declared, a.undeclared, a.repeated], &format!("{:.2}", a.rate_hz)))
        .collect();
    let videos: Vec<_> = verdict
        .videos
        .iter()
        .map(|v| row(&v.file, &[v.rows, v.counted, v.declared], if v.adds_up { "yes" } else { "no" }))
        .collect();
    let head = ["camera", "triggers", "frames", "declared", "undeclared", "duplicate", "unproved", "Hz"];
    let mut text = table(&head, &cameras) + "<br>";
    text += &table(&["array", "span", "samples", "declared", "undeclared", "repeated", "Hz"], &arrays);
    if !verdict.exposures.is_empty() {
        let head = ["camera", "checked", "without its exposure", "exposures without a frame", "exposure line in"];
        let exposures = verdict.exposures.iter();
        let rows = exposures.map(|e| row(&e.camera, &[e.checked, e.silent, e.frameless], &e.array)).collect::<Vec<_>>();
        text += &("<br>".to_owned() + &table(&head, &rows));
    }
    text + "<br>" + &table(&["video", "rows", "frames", "declared", "adds up"], &videos)
}

fn row(name: &str, counts: &[u64], last: &str) -> Vec<String> {
    let counts = counts.iter().map(u64::to_string);
    std::iter::once(name.to_owned()).chain(counts).chain(std::iter::once(last.to_owned())).collect()
}

fn distribution(heading: &str, columns: &[ColumnStats]) -> String {
    let filled = columns.iter().filter(|column| column.values.count > 0);
    let rows: Vec<_> = filled
        .map(|column| {
            let v = column.values;
            let numbers = [v.mean, v.p50, v.p99, v.p999, v.max].map(|value| format!("{value:.4}"));
            let mut cells = vec![column.name.clone()];
            cells.extend(numbers);
            cells.extend([column.unit.clone(), v.count.to_string()]);
            cells
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("<p>{heading}</p>\n{}", table(&["", "mean", "p50", "p99", "p99.9", "max", "unit", "n"], &rows))
}

fn gaps(gaps: &[GapEntry]) -> String {
    let number = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    let rows: Vec<_> = gaps
        .iter()
        .take(GAPS_MAX)
        .map(|gap| {
            let at = format!("{:.6}", gap.t_ns as f64 * 1e-9);
            let until = gap.end_ns.map_or(String::new(), |end| format!("{:.6}", end as f64 * 1e-9));
            let (first, end, count) = (number(gap.first), number(gap.end), number(gap.count));
            vec![gap.stream.clone(), at, until, first, end, count, gap.unit.clone(), gap.cause.clone()]
        })
        .collect();
    if rows.is_empty() {
        return "<h2>Gaps</h2>\n<p>None.</p>\n".to_owned();
    }
    let head = ["stream", "from s", "until s", "first", "end", "count", "unit", "cause"];
    let mut text = format!("<h2>Gaps</h2>\n{}", table(&head, &rows));
    if gaps.len() > GAPS_MAX {
        writeln!(text, "<p>{} more are in the gaps table.</p>", gaps.len() - GAPS_MAX).expect("writing to a string");
    }
    text
}

fn provenance(manifest: &Manifest) -> String {
    let files: Vec<_> = manifest
        .info
        .files
        .iter()
        .map(|file| vec![file.role.clone(), file.path.display().to_string(), file.sha256.clone()])
        .collect();
    let parts = manifest.tables.values().flat_map(|table| &table.parts);
    let mut hashes: Vec<_> =
        parts.map(|part| vec![part.file.clone(), part.bytes.to_string(), part.sha256.clone()]).collect();
    hashes.extend(
        manifest.videos.iter().map(|video| vec![video.file.clone(), video.bytes.to_string(), video.sha256.clone()]),
    );
    let config = serde_json::to_string_pretty(&manifest.info.config).unwrap_or_default();
    format!(
        "<h2>Provenance</h2>\n{}<details><summary>{} files with their SHA-256</summary>{}</details>\n\
         <details><summary>Checked config</summary><pre>{}</pre></details>\n",
        table(&["role", "file", "SHA-256"], &files),
        hashes.len(),
        table(&["file", "bytes", "SHA-256"], &hashes),
        escape(&config)
    )
}
