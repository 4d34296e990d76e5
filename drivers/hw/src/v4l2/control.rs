//! Controls of a V4L2 device by name. Pure; `requests` reads the list.

use crate::controls::ControlValue;

/// What kind of value a control takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number within limits.
    Integer {
        /// Smallest, largest, step.
        limits: [i64; 3],
    },
    /// On or off.
    Switch,
    /// One of these, by number.
    Menu(Vec<(i64, String)>),
    /// It does something when it is set.
    Button,
    /// Nothing that a config can set.
    Other,
}

/// One control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// V4L2's number.
    pub id: u32,
    /// Name as a config writes it.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether it can be set.
    pub writable: bool,
}

/// A device's name for a control as a config writes it: `Exposure Time, Absolute` is `exposure_time_absolute`.
pub fn config_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// What to set, in which order: modes before numbers, because a number may be refused until its mode is manual.
///
/// # Errors
/// One sentence for the first setting that the device does not have or take, with what it has.
pub fn plan<'a>(
    controls: &[Control],
    wanted: impl Iterator<Item = (&'a String, &'a ControlValue)>,
) -> Result<Vec<(u32, i64)>, String> {
    let mut settings = Vec::new();
    for (name, value) in wanted {
        let Some(control) = controls.iter().find(|control| control.name == config_name(name)) else {
            let names: Vec<&str> = controls.iter().map(|control| control.name.as_str()).collect();
            return Err(format!("no control {name:?}; it has {}", names.join(", ")));
        };
        if !control.writable {
            return Err(format!("control {name:?} can only be read"));
        }
        settings.push((is_number(control), control.id, raw_value(control, value)?));
    }
    settings.sort_by_key(|(number, _, _)| *number);
    Ok(settings.into_iter().map(|(_, id, value)| (id, value)).collect())
}

fn is_number(control: &Control) -> bool {
    matches!(control.kind, Kind::Integer { .. })
}

fn raw_value(control: &Control, value: &ControlValue) -> Result<i64, String> {
    let refuse = |expected: String| Err(format!("control {:?} = {value}; expected {expected}", control.name));
    let whole = match value {
        ControlValue::Integer(number) => Some(*number),
        ControlValue::Number(number) if number.fract() == 0.0 => Some(*number as i64),
        ControlValue::Switch(on) => Some(i64::from(*on)),
        _ => None,
    };
    match (&control.kind, whole) {
        (Kind::Integer { limits: [min, max, step] }, Some(number)) if !matches!(value, ControlValue::Switch(_)) => {
            let on_grid = (number - min).rem_euclid((*step).max(1)) == 0;
            if (*min..=*max).contains(&number) && on_grid {
                return Ok(number);
            }
            refuse(format!("{min} to {max} in steps of {step}"))
        }
        (Kind::Integer { limits: [min, max, step] }, _) => {
            refuse(format!("a number, {min} to {max} in steps of {step}"))
        }
        (Kind::Switch | Kind::Button, Some(number @ (0 | 1))) => Ok(number),
        (Kind::Switch | Kind::Button, _) => refuse("true or false".to_owned()),
        (Kind::Menu(entries), _) => {
            let named = |entry: &&(i64, String)| match value {
                ControlValue::Text(text) => config_name(&entry.1) == config_name(text),
                _ => Some(entry.0) == whole,
            };
            match entries.iter().find(named) {
                Some((number, _)) => Ok(*number),
                None => {
                    refuse(entries.iter().map(|(n, text)| format!("{n} ({text:?})")).collect::<Vec<_>>().join(", "))
                }
            }
        }
        (Kind::Other, _) => refuse("nothing: a config cannot set it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn controls() -> Vec<Control> {
        let control = |id, name: &str, kind| Control { id, name: config_name(name), kind, writable: true };
        vec![
            control(1, "Exposure Time, Absolute", Kind::Integer { limits: [1, 10_000, 1] }),
            control(
                2,
                "Auto Exposure",
                Kind::Menu(vec![(1, "Manual Mode".into()), (3, "Aperture Priority Mode".into())]),
            ),
            control(3, "Horizontal Flip", Kind::Switch),
            control(4, "Gain", Kind::Integer { limits: [0, 480, 8] }),
            Control { writable: false, ..control(5, "Read-Only Integer", Kind::Integer { limits: [0, 255, 1] }) },
        ]
    }

    fn set(pairs: &[(&str, ControlValue)]) -> Result<Vec<(u32, i64)>, String> {
        let wanted: BTreeMap<String, ControlValue> = pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        plan(&controls(), wanted.iter())
    }

    #[test]
    fn modes_are_set_before_numbers_and_menus_by_name() {
        let order = set(&[
            ("gain", ControlValue::Integer(16)),
            ("exposure_time_absolute", ControlValue::Number(20.0)),
            ("auto_exposure", ControlValue::Text("manual mode".into())),
            ("horizontal_flip", ControlValue::Switch(true)),
        ]);
        assert_eq!(order, Ok(vec![(2, 1), (3, 1), (1, 20), (4, 16)]));
        assert_eq!(set(&[("auto_exposure", ControlValue::Integer(3))]), Ok(vec![(2, 3)]));
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_what_can() {
        for (name, value, words) in [
            ("exposure", ControlValue::Integer(5), "it has exposure_time_absolute, auto_exposure"),
            ("gain", ControlValue::Integer(481), "0 to 480 in steps of 8"),
            ("gain", ControlValue::Integer(7), "0 to 480 in steps of 8"),
            ("gain", ControlValue::Switch(true), "a number"),
            ("horizontal_flip", ControlValue::Integer(2), "true or false"),
            ("auto_exposure", ControlValue::Text("auto".into()), "1 (\"Manual Mode\"), 3 (\"Aperture Priority Mode\")"),
            ("read_only_integer", ControlValue::Integer(1), "can only be read"),
        ] {
            let refusal = set(&[(name, value)]).expect_err(name);
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
