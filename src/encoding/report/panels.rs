//! The page's sections.

use std::fmt::Write as _;

use super::super::analysis::{Analysis, ArraySimilarity, SavedRdm, Variability};
use super::super::score::Estimate;
use super::svg::{Strip, bars, escape, heatmap, strips};

/// Layers drawn as heat maps, most similar first.
const MAPS: usize = 8;

fn section(out: &mut String, title: &str, text: &str, inner: &str) {
    writeln!(out, "<section><h2>{}</h2><p>{}</p>{inner}</section>", escape(title), escape(text))
        .expect("writing to a string");
}

fn figure(caption: &str, picture: &str) -> String {
    format!("<figure>{picture}<figcaption>{}</figcaption></figure>", escape(caption))
}

fn array_name(analysis: &Analysis, array: u16) -> String {
    analysis.arrays.get(usize::from(array)).cloned().unwrap_or_else(|| array.to_string())
}

fn arrays(analysis: &Analysis) -> Vec<u16> {
    let mut arrays: Vec<u16> = analysis.encoding.units.iter().map(|unit| unit.array).collect();
    arrays.dedup();
    arrays
}

/// Scores of an array's units by set.
fn score_strips(analysis: &Analysis, array: u16) -> Vec<Strip> {
    let encoding = &analysis.encoding;
    let units: Vec<usize> = (0..encoding.units.len()).filter(|unit| encoding.units[*unit].array == array).collect();
    let strip = |(set, scores): (usize, &Vec<super::super::score::Score>)| {
        let values: Vec<f64> = units.iter().map(|unit| scores[*unit].bits_per_spike.value).collect();
        let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let mean = Estimate::mean(&known);
        let info = &encoding.sets[set];
        Strip {
            name: info.name.clone(),
            family: info.family.clone(),
            values,
            mean: mean.value,
            low: mean.low,
            high: mean.high,
        }
    };
    encoding.scores.iter().enumerate().map(strip).collect()
}

fn best_table(analysis: &Analysis, array: u16) -> String {
    let encoding = &analysis.encoding;
    let mut out = String::from(
        "<table><tr><th>feature set</th><th>features</th><th>units predicted</th><th>best for</th>\
         <th>pseudo-R²</th><th>bits/spike against the first</th><th>better / worse</th></tr>",
    );
    let units: Vec<usize> = (0..encoding.units.len()).filter(|unit| encoding.units[*unit].array == array).collect();
    for (at, set) in encoding.sets.iter().enumerate() {
        let predicted = units.iter().filter(|unit| encoding.scores[at][**unit].predicts()).count();
        let best = units.iter().filter(|unit| encoding.best[**unit] == Some(at)).count();
        let r2: Vec<f64> =
            units.iter().map(|unit| encoding.scores[at][*unit].pseudo_r2).filter(|v| v.is_finite()).collect();
        let against = encoding.comparisons.iter().find(|c| c.array == array && c.set == set.name);
        let (difference, counts) = against.map_or(("–".to_owned(), "–".to_owned()), |c| {
            let d = c.difference;
            (format!("{:+.4} [{:+.4}, {:+.4}]", d.value, d.low, d.high), format!("{} / {}", c.better, c.worse))
        });
        write!(
            out,
            "<tr><td>{}</td><td>{} → {:.0}</td><td>{predicted} / {}</td><td>{best}</td><td>{:.3}</td><td>{difference}</td><td>{counts}</td></tr>",
            escape(&set.name),
            set.columns,
            set.components,
            units.len(),
            r2.iter().sum::<f64>() / r2.len().max(1) as f64
        )
        .expect("writing to a string");
    }
    out.push_str("</table>");
    out
}

pub(super) fn encoding(out: &mut String, analysis: &Analysis) {
    let text = "Cross-validated log-likelihood ratio of each unit (dots), mean over units with its 95 % interval beside \
                them. Above zero: the features predict held-out spikes better than the unit's mean rate does. Features → \
                principal components that keep enough of their variance.";
    let mut inner = String::new();
    if analysis.encoding.units.is_empty() {
        inner.push_str("<p>No unit has enough spikes.</p>");
    }
    inner.push_str("<div class=\"row\">");
    for array in arrays(analysis) {
        write!(
            inner,
            "<div><h3>Array {}</h3>{}{}</div>",
            escape(&array_name(analysis, array)),
            figure("bits a spike, by feature set", &strips("bits / spike", &score_strips(analysis, array), None)),
            best_table(analysis, array)
        )
        .expect("writing to a string");
    }
    inner.push_str("</div>");
    section(out, "Which features predict the spikes", text, &inner);
}

fn square(rdm: &SavedRdm) -> Vec<Vec<f64>> {
    let count = rdm.conditions.len();
    let index = |a: usize, b: usize| a * (2 * count - a - 1) / 2 + b - a - 1;
    let at = |a: usize, b: usize| if a == b { 0.0 } else { rdm.values[index(a.min(b), a.max(b))] };
    (0..count).map(|a| (0..count).map(|b| at(a, b)).collect()).collect()
}

fn layer_strips(of: &ArraySimilarity) -> String {
    let layers: Vec<Strip> = of
        .layers
        .iter()
        .map(|layer| Strip {
            name: layer.name.clone(),
            family: layer.family.clone(),
            values: Vec::new(),
            mean: layer.similarity,
            // Four parts say little of the spread: their interval may end where no cosine lies.
            low: layer.parts.low.max(-1.0),
            high: layer.parts.high.min(1.0),
        })
        .collect();
    strips("whitened unbiased cosine", &layers, of.ceiling.map(|ceiling| (ceiling.low, ceiling.high)))
}

pub(super) fn similarity(out: &mut String, analysis: &Analysis) {
    let text = "Cross-validated distances between behaviours (darker: farther apart), and how like each array's distances \
                those of each layer and model are. Bars: 95 % interval over parts of the recording; green band: noise \
                ceiling, the similarity that the true model would reach.";
    let mut inner = String::new();
    if analysis.similarity.is_empty() {
        inner.push_str("<p>Not computed: it takes at least three labelled behaviours of some length and one unit.</p>");
    }
    inner.push_str("<div class=\"row\">");
    for of in &analysis.similarity {
        write!(
            inner,
            "<div><h3>Array {}: similarity by layer</h3>{}</div>",
            escape(&array_name(analysis, of.array)),
            layer_strips(of)
        )
        .expect("writing to a string");
    }
    inner.push_str("</div>");
    for of in &analysis.similarity {
        let mut order: Vec<&super::super::analysis::LayerSimilarity> =
            of.layers.iter().filter(|l| l.name != "all alike").collect();
        order.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        write!(inner, "<h3>Array {}: distances</h3><div class=\"row\">", escape(&array_name(analysis, of.array)))
            .expect("writing to a string");
        let own = format!("array {}, {} units", array_name(analysis, of.array), of.units);
        inner.push_str(&figure(&own, &heatmap(&of.rdm.conditions, &of.rdm.conditions, &square(&of.rdm), 22.0, false)));
        for layer in order.into_iter().take(MAPS) {
            let caption = format!("{} ({:.2})", layer.name, layer.similarity);
            inner.push_str(&figure(&caption, &heatmap(&[], &[], &square(&layer.rdm), 14.0, false)));
        }
        inner.push_str("</div>");
    }
    section(out, "Which layers represent behaviours as the arrays do", text, &inner);
}

fn variability_row(of: &Variability) -> String {
    let mut out = String::from("<div class=\"row\">");
    let unit = if of.kind == "latent" { "latent standard deviation" } else { "action standard deviation" };
    out.push_str(&figure("by behaviour, mean over dimensions", &bars(unit, &of.behaviours, &of.means, "#2b8a5a")));
    out.push_str(&figure("Fano factor of the units, mean", &bars("Fano factor", &of.behaviours, &of.fano, "#6b7a8c")));
    let rows: Vec<String> =
        of.regulated.iter().map(|r| format!("{} ({:.0} %)", r.dimension, r.effect * 100.0)).collect();
    let values: Vec<Vec<f64>> = of.regulated.iter().map(|r| r.means.clone()).collect();
    out.push_str(&figure(
        "dimensions most regulated by behaviour (share of variance between behaviours)",
        &heatmap(&rows, &of.behaviours, &values, 34.0, true),
    ));
    if !of.confusion.is_empty() {
        let share = |row: &Vec<f64>| {
            let sum: f64 = row.iter().sum();
            row.iter().map(|value| value / sum).collect()
        };
        let shares: Vec<Vec<f64>> = of.confusion.iter().map(share).collect();
        out.push_str(&figure(
            "behaviour (row) recognised as (column) from variability alone, held out",
            &heatmap(&of.behaviours, &of.behaviours, &shares, 34.0, true),
        ));
    }
    out.push_str("</div>");
    out
}

pub(super) fn variability(out: &mut String, analysis: &Analysis) {
    let text = "How much freedom the policy leaves itself in each behaviour, whether behaviours can be told apart by it, \
                and whether the neurons are variable in the same behaviours.";
    let mut inner = String::new();
    if analysis.variability.is_empty() {
        inner.push_str(
            "<p>Not computed: it takes labelled behaviours and a policy with a latent or resampled actions.</p>",
        );
    }
    for of in &analysis.variability {
        let accuracy = of.accuracy.map_or("behaviours could not be told apart".to_owned(), |a| {
            format!("balanced accuracy {:.2} [{:.2}, {:.2}], chance {:.2}", a.value, a.low, a.high, of.chance)
        });
        let neural = of.neural_correlation.map_or(String::new(), |(rho, p)| {
            format!("; rank correlation with the units' Fano factors over behaviours {rho:+.2} (p = {p:.3})")
        });
        write!(
            inner,
            "<h3>{} ({})</h3><p>{}</p>{}",
            escape(&of.kind),
            escape(&of.source),
            escape(&(accuracy + &neural)),
            variability_row(of)
        )
        .expect("writing to a string");
    }
    section(out, "Variability by behaviour", text, &inner);
}

pub(super) fn behaviours(out: &mut String, analysis: &Analysis) {
    if analysis.behaviours.is_empty() {
        return;
    }
    let names: Vec<String> = analysis.behaviours.iter().map(|b| b.name.clone()).collect();
    let seconds: Vec<f64> = analysis.behaviours.iter().map(|b| b.seconds).collect();
    let text = format!("Labels: {}.", analysis.label_source);
    section(out, "Behaviours", &text, &figure("seconds in each", &bars("s", &names, &seconds, "#7a828a")));
}

/// Every figure by name, for files of their own.
pub(super) fn figures(analysis: &Analysis) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for array in arrays(analysis) {
        let name = format!("cv_llr_{}", array_name(analysis, array));
        out.push((name, strips("bits / spike", &score_strips(analysis, array), None)));
    }
    for of in &analysis.similarity {
        let array = array_name(analysis, of.array);
        out.push((format!("similarity_{array}"), layer_strips(of)));
        out.push((
            format!("rdm_{array}"),
            heatmap(&of.rdm.conditions, &of.rdm.conditions, &square(&of.rdm), 26.0, false),
        ));
    }
    for of in &analysis.variability {
        let unit = format!("{} standard deviation", of.kind);
        out.push((format!("variability_{}", of.kind), bars(&unit, &of.behaviours, &of.means, "#2b8a5a")));
    }
    out
}
