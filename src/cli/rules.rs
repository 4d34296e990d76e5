//! `mimicd rules`: rules looked at and tried without a rig.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use mimicd_device::Span;
use serde::Deserialize;

use crate::config::RuleConfig;
use crate::pipeline::{RuleTest, RuleTestReport};

/// Options of `mimicd rules`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Dry run: what rules would have decided on a recording.
    Test(TestOptions),
    /// The signals that rules may look at on a recording.
    Signals {
        /// The recording's folder.
        dataset: PathBuf,
    },
}

#[derive(Debug, Args)]
struct TestOptions {
    /// The recording's folder.
    dataset: PathBuf,
    /// A TOML file with `[[rule]]` sections: a rig's config or rules alone.
    rules: PathBuf,
    /// Oldest input that rules without a limit of their own act on.
    #[arg(long, default_value_t = 40)]
    age_max_millis: u32,
    /// Print every decision with its inputs and their ages.
    #[arg(long)]
    all: bool,
}

/// The part of a config that is needed here.
#[derive(Deserialize)]
struct Rules {
    #[serde(default)]
    rule: Vec<RuleConfig>,
}

/// Exit code 1 when the rules are wrong.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Test(options) => test(options),
        What::Signals { dataset } => {
            RuleTest::open(dataset)?.signals().iter().for_each(|name| println!("{name}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn test(options: &TestOptions) -> Result<ExitCode> {
    let rules = load(&options.rules)?;
    let test = RuleTest::open(&options.dataset)?;
    let report = match test.run(&rules, Span::from_millis(i64::from(options.age_max_millis))) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{}:\n{error}", options.rules.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    print(&rules, &report, options.all);
    Ok(ExitCode::SUCCESS)
}

fn load(path: &Path) -> Result<Vec<RuleConfig>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    if rules.rule.is_empty() {
        return Err(anyhow!("{}: no [[rule]] section", path.display()));
    }
    Ok(rules.rule)
}

fn print(rules: &[RuleConfig], report: &RuleTestReport, all: bool) {
    println!("{} frame sets, {:.1} s", report.sets, report.seconds);
    if all {
        for decision in &report.decisions {
            let input =
                |(name, value, age_ms): &(String, f64, f64)| format!("{name} = {value:.4} ({age_ms:.1} ms old)");
            let inputs: Vec<String> = decision.inputs.iter().map(input).collect();
            let at_s = decision.at_ns as f64 * 1e-9;
            println!("{at_s:10.3} s  {:16} {:20} {}", decision.rule, decision.outcome, inputs.join(", "));
        }
    }
    for rule in rules {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for decision in report.decisions.iter().filter(|decision| decision.rule == rule.name) {
            *counts.entry(decision.outcome).or_default() += 1;
        }
        let each: Vec<String> = counts.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        let here = if each.is_empty() { "no decision".to_owned() } else { each.join(", ") };
        let own = report.recorded.iter().filter(|((name, _), _)| *name == rule.name);
        let recorded: Vec<String> = own.map(|((_, outcome), count)| format!("{outcome} {count}")).collect();
        let recorded = if recorded.is_empty() { "none".to_owned() } else { recorded.join(", ") };
        println!("{}: {here} (recorded under this name: {recorded})", rule.name);
    }
}
