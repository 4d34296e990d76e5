//! Which settings of a config are features of the camera, which of the link, and in which order they are set. Pure.

use std::collections::BTreeMap;

use crate::controls::ControlValue;

/// Settings of the link.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    pub(super) packet_resend: Option<bool>,
    pub(super) packet_bytes: Option<i32>,
    pub(super) packet_timeout_micros: Option<u32>,
    pub(super) frame_retention_micros: Option<u32>,
    pub(super) socket_buffer_bytes: Option<i32>,
    pub(super) bandwidth_bytes_per_second: Option<u32>,
}

/// A config's settings, told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) link: Link,
    /// The camera is to have the clock that all cameras on its link share (PTP, IEEE 1588).
    pub(super) ptp: bool,
    /// Selectors first: what follows belongs to what they select.
    pub(super) features: Vec<(String, ControlValue)>,
}

impl Settings {
    /// Tells `controls` apart.
    ///
    /// # Errors
    /// One sentence for the first that is neither or has no sensible value.
    pub(super) fn of(controls: &BTreeMap<String, ControlValue>) -> Result<Self, String> {
        let mut settings = Self::default();
        let link = &mut settings.link;
        let ptp = &mut settings.ptp;
        for (name, value) in controls {
            match name.as_str() {
                "ptp" => *ptp = switch(name, value)?,
                "packet_resend" => link.packet_resend = Some(switch(name, value)?),
                "packet_bytes" => link.packet_bytes = Some(number(name, value, 576, 16_000)? as i32),
                "packet_timeout_micros" => {
                    link.packet_timeout_micros = Some(number(name, value, 100, 10_000_000)? as u32);
                }
                "frame_retention_micros" => {
                    link.frame_retention_micros = Some(number(name, value, 100, 10_000_000)? as u32);
                }
                "socket_buffer_bytes" => {
                    link.socket_buffer_bytes = Some(number(name, value, 65_536, i64::from(i32::MAX))? as i32);
                }
                "bandwidth_bytes_per_second" => {
                    link.bandwidth_bytes_per_second = Some(number(name, value, 1_000_000, i64::from(u32::MAX))? as u32);
                }
                other if other.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    settings.features.push((name.clone(), value.clone()));
                }
                _ => {
                    return Err(format!(
                        "control {name:?} is no feature (those begin with a capital) and no setting of ours: ptp, packet_resend, \
                         packet_bytes, packet_timeout_micros, frame_retention_micros, socket_buffer_bytes, \
                         bandwidth_bytes_per_second"
                    ));
                }
            }
        }
        settings.features.sort_by_key(|(name, _)| !name.ends_with("Selector"));
        Ok(settings)
    }

    /// Whether the camera waits for triggers.
    pub(super) fn is_triggered(&self) -> bool {
        self.features.iter().any(|(name, value)| name == "TriggerMode" && *value == ControlValue::Text("On".to_owned()))
    }
}

fn switch(name: &str, value: &ControlValue) -> Result<bool, String> {
    match value {
        ControlValue::Switch(on) => Ok(*on),
        _ => Err(format!("control {name:?} = {value}; expected true or false")),
    }
}

fn number(name: &str, value: &ControlValue, min: i64, max: i64) -> Result<i64, String> {
    match value {
        ControlValue::Integer(number) if (min..=max).contains(number) => Ok(*number),
        _ => Err(format!("control {name:?} = {value}; expected a whole number, {min} to {max}")),
    }
}

/// Pause after each packet of `packet_bytes` that keeps a camera on a link of `link_bytes_per_second` within its share.
pub(super) fn packet_delay_nanos(packet_bytes: u32, share: u32, link_bytes_per_second: f64) -> i64 {
    let packet = f64::from(packet_bytes) * 1e9;
    (packet / f64::from(share) - packet / link_bytes_per_second).max(0.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, ControlValue)]) -> Result<Settings, String> {
        Settings::of(&pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn text(value: &str) -> ControlValue {
        ControlValue::Text(value.to_owned())
    }

    #[test]
    fn selectors_come_first_and_the_link_is_told_apart() {
        let settings = of(&[
            ("Gain", ControlValue::Number(3.0)),
            ("TriggerMode", text("On")),
            ("TriggerSelector", text("FrameStart")),
            ("packet_resend", ControlValue::Switch(false)),
            ("bandwidth_bytes_per_second", ControlValue::Integer(20_000_000)),
        ])
        .expect("well formed");
        assert_eq!(settings.features[0].0, "TriggerSelector");
        assert_eq!(settings.link.packet_resend, Some(false));
        assert_eq!(settings.link.bandwidth_bytes_per_second, Some(20_000_000));
        assert!(settings.is_triggered() && !settings.ptp);
        assert!(of(&[("ptp", ControlValue::Switch(true))]).expect("well formed").ptp);
        assert!(!of(&[("TriggerMode", text("Off"))]).expect("well formed").is_triggered());
    }

    #[test]
    fn what_is_neither_is_refused_with_what_there_is() {
        for (name, value, words) in [
            ("packet_resends", ControlValue::Switch(true), "packet_resend,"),
            ("packet_resend", ControlValue::Integer(1), "true or false"),
            ("ptp", text("On"), "true or false"),
            ("packet_bytes", ControlValue::Integer(9), "576 to 16000"),
        ] {
            let refusal = of(&[(name, value)]).expect_err(name);
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn six_cameras_share_a_gigabit_link() {
        let link = 125e6;
        let delay = packet_delay_nanos(9_000, 20_000_000, link);
        let rate = 9_000.0 / (9_000.0 / link + delay as f64 * 1e-9);
        assert!((rate - 20e6).abs() < 1e3, "{rate}");
        assert_eq!(packet_delay_nanos(9_000, 200_000_000, link), 0, "more than the link has");
    }
}
