//! Closed-loop rules, as typed; the rules layer parses conditions and checks signal names.

use serde::{Deserialize, Serialize};

use super::{ConfigError, check};

/// One rule: when its condition comes true, it acts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Name; written with every decision.
    pub name: String,
    /// Condition, e.g. `pose.Snout.height_m > 0.08 and spikes.arrayA.rate_hz < 400`.
    pub when: String,
    /// Condition that ends a crossing, e.g. `pose.Snout.height_m < 0.06` (hysteresis). Without one, `when` must fail.
    #[serde(default)]
    pub release: Option<String>,
    /// How long the condition must hold without a break before the rule acts.
    #[serde(default)]
    pub hold_millis: u32,
    /// No second decision within this time.
    #[serde(default = "default_refractory_millis")]
    pub refractory_millis: u32,
    /// Act again after each refractory time while the condition holds, instead of once a crossing.
    #[serde(default)]
    pub repeat: bool,
    /// Share of decisions that are shams: recorded, without output.
    #[serde(default)]
    pub sham_probability: f64,
    /// Oldest input the rule acts on; `rig.action_age_max_millis` if not given.
    #[serde(default)]
    pub age_max_millis: Option<u32>,
    /// Stretches of the recording, in seconds from its start, in which the rule is active; always, if there are none.
    #[serde(default)]
    pub blocks_s: Vec<[f64; 2]>,
    /// Output to pulse, if any.
    #[serde(default)]
    pub output: Option<u8>,
    /// From the decision to the first pulse; 0 = at once.
    #[serde(default)]
    pub delay_micros: u32,
    /// Width of each pulse.
    #[serde(default = "default_pulse_micros")]
    pub pulse_micros: u32,
    /// Number of pulses.
    #[serde(default = "default_pulses")]
    pub pulses: u16,
    /// From pulse to pulse, rising edges.
    #[serde(default = "default_pulse_period_micros")]
    pub pulse_period_micros: u32,
    /// Text of a mark to put into the event table.
    #[serde(default)]
    pub mark: Option<String>,
}

const fn default_pulse_micros() -> u32 {
    5_000
}

const fn default_refractory_millis() -> u32 {
    1_000
}

const fn default_pulses() -> u16 {
    1
}

const fn default_pulse_period_micros() -> u32 {
    50_000
}

/// Rules over all rules.
pub(super) fn check(rules: &[RuleConfig], errors: &mut Vec<ConfigError>) {
    check::distinct("rule.name", rules.iter().map(|r| r.name.as_str()), errors);
    for rule in rules {
        check::slug("rule.name", &rule.name, errors);
        check_rule(rule, errors);
    }
}

fn check_rule(rule: &RuleConfig, errors: &mut Vec<ConfigError>) {
    let key = |field: &str| format!("rule.{}.{field}", rule.name);
    check::within(&key("pulse_micros"), f64::from(rule.pulse_micros), 10.0..=10_000_000.0, errors);
    // The board holds 32 waiting pulses for all rules together.
    check::within(&key("pulses"), f64::from(rule.pulses), 1.0..=24.0, errors);
    check::within(&key("hold_millis"), f64::from(rule.hold_millis), 0.0..=600_000.0, errors);
    check::within(&key("delay_micros"), f64::from(rule.delay_micros), 0.0..=60_000_000.0, errors);
    check::within(&key("sham_probability"), rule.sham_probability, 0.0..=1.0, errors);
    if let Some(age) = rule.age_max_millis {
        check::within(&key("age_max_millis"), f64::from(age), 1.0..=10_000.0, errors);
    }
    if rule.pulses > 1 && rule.pulse_period_micros <= rule.pulse_micros {
        let expected = format!("more than pulse_micros = {}", rule.pulse_micros);
        errors.push(ConfigError::value(key("pulse_period_micros"), rule.pulse_period_micros, expected));
    }
    if rule.output.is_none() && rule.mark.is_none() {
        errors.push(ConfigError::value(key("output"), "none", "an output to pulse, or a mark: the rule does nothing"));
    }
    for block in &rule.blocks_s {
        if !(block[0] >= 0.0 && block[0] < block[1] && block[1].is_finite()) {
            errors.push(ConfigError::value(key("blocks_s"), format!("{block:?}"), "[from, to] in seconds, from < to"));
        }
    }
}
