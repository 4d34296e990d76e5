//! The report as one HTML file: no script, no font and no picture from elsewhere.

use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #f6f7f9; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.lead { color: #52606d; margin: 0 0 1rem; }
section { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: .2rem 1.2rem 1.2rem; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #52606d; font-size: .85rem; }
td, th { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #eef0f3; vertical-align: middle; }
td.n, th.n { text-align: right; white-space: nowrap; }
.bar { height: .55rem; border-radius: 2px; margin: 1px 0; min-width: 1px; }
.a { background: #b9c4d0; } .b { background: #1f77b4; }
.key span { display: inline-block; width: .8rem; height: .55rem; border-radius: 2px; margin: 0 .3rem 0 .9rem; }
svg { max-width: 100%; height: auto; }
.ok { color: #1a7f4b; font-weight: 600; } .no { color: #b3261e; font-weight: 600; }
";

/// A page being written.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
}

/// One row of a table of bars: a name, the value before, the value after.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    pub(super) name: String,
    pub(super) before: f64,
    pub(super) after: f64,
}

impl Page {
    pub(super) fn new(title: &str, lead: &str) -> Self {
        let (title, lead) = (escaped(title), escaped(lead));
        let head = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n\
             <body><main><h1>{title}</h1><p class=\"lead\">{lead}</p>\n"
        );
        Self { text: head }
    }

    /// A section with a heading and a sentence that says what is seen.
    pub(super) fn section(&mut self, heading: &str, sentence: &str) {
        self.close_section();
        let _ = writeln!(self.text, "<section><h2>{}</h2><p>{}</p>", escaped(heading), escaped(sentence));
    }

    fn close_section(&mut self) {
        if self.text.contains("<section>") {
            self.text.push_str("</section>\n");
        }
    }

    /// A drawing made by us.
    pub(super) fn svg(&mut self, svg: &str) {
        self.text.push_str(svg);
        self.text.push('\n');
    }

    /// Rows of text; the first column is left, the others right.
    pub(super) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.text.push_str("<table><tr>");
        for (index, cell) in head.iter().enumerate() {
            let _ = write!(self.text, "<th{}>{}</th>", right(index), escaped(cell));
        }
        self.text.push_str("</tr>\n");
        for row in rows {
            self.text.push_str("<tr>");
            for (index, cell) in row.iter().enumerate() {
                let _ = write!(self.text, "<td{}>{}</td>", right(index), escaped(cell));
            }
            self.text.push_str("</tr>\n");
        }
        self.text.push_str("</table>\n");
    }

    /// Bars of two values each, before and after.
    pub(super) fn bars(&mut self, what: &str, unit: &str, rows: &[Bars]) {
        let values = rows.iter().flat_map(|row| [row.before, row.after]).filter(|value| value.is_finite());
        let longest = values.fold(1e-12, f64::max);
        let width = |value: f64| if value.is_finite() { 100.0 * value / longest } else { 0.0 };
        let _ = writeln!(
            self.text,
            "<p class=\"key\"><span class=\"a\"></span>before<span class=\"b\"></span>after</p>\
             <table><tr><th>{}</th><th style=\"width:60%\"></th><th class=\"n\">before, {unit}</th><th class=\"n\">after, {unit}</th></tr>",
            escaped(what)
        );
        for row in rows {
            let _ = writeln!(
                self.text,
                "<tr><td>{}</td><td><div class=\"bar a\" style=\"width:{:.1}%\"></div>\
                 <div class=\"bar b\" style=\"width:{:.1}%\"></div></td>\
                 <td class=\"n\">{:.2}</td><td class=\"n\">{:.2}</td></tr>",
                escaped(&row.name),
                width(row.before),
                width(row.after),
                row.before,
                row.after
            );
        }
        self.text.push_str("</table>\n");
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> String {
        self.close_section();
        self.text.push_str("</main></body></html>\n");
        self.text
    }
}

fn right(column: usize) -> &'static str {
    if column == 0 { "" } else { " class=\"n\"" }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_closed_and_escaped() {
        let mut page = Page::new("a <b>", "lead");
        page.section("one", "s & t");
        page.table(&["x", "y"], &[vec!["<i>".into(), "2".into()]]);
        page.section("two", "");
        page.bars("k", "mm", &[Bars { name: "n".into(), before: 2.0, after: f64::NAN }]);
        let text = page.finish();
        assert_eq!(text.matches("<section>").count(), 2);
        assert_eq!(text.matches("</section>").count(), 2);
        assert!(text.contains("&lt;i&gt;") && text.contains("s &amp; t") && !text.contains("<b>"));
        assert!(text.contains("width:100.0%") && text.contains("width:0.0%"));
    }
}
