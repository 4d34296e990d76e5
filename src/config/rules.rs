//! Closed-loop rules, as typed; the rules layer parses conditions and checks signal names.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// One rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Name; written with every decision.
    pub name: String,
    /// Condition, e.g. `pose.Snout.height_m > 0.08`.
    pub when: String,
    /// Output to pulse, if any.
    #[serde(default)]
    pub output: Option<u8>,
    /// Width of the pulse.
    #[serde(default = "default_pulse_micros")]
    pub pulse_micros: u32,
    /// No second decision within this time.
    #[serde(default = "default_refractory_millis")]
    pub refractory_millis: u32,
}

const fn default_pulse_micros() -> u32 {
    5_000
}

const fn default_refractory_millis() -> u32 {
    1_000
}

/// Rules over all rules.
pub(super) fn check(rules: &[RuleConfig], errors: &mut Vec<ConfigError>) {
    check::distinct("rule.name", rules.iter().map(|r| r.name.as_str()), errors);
    for rule in rules {
        check::slug("rule.name", &rule.name, errors);
        check::within(
            &format!("rule.{}.pulse_micros", rule.name),
            f64::from(rule.pulse_micros),
            10.0..=10_000_000.0,
            errors,
        );
    }
}
