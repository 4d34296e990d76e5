//! Feature sets: named choices of a source's columns.

use super::layout::{body_columns, virtual_columns};

/// Where a set's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registered body.
    Body,
    /// The virtual rat.
    Virtual,
}

/// One value of a source's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureColumn {
    /// Place in the row.
    pub at: usize,
    /// Name.
    pub name: String,
    /// Unit; empty when there is none.
    pub unit: String,
}

/// A named set of features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec {
    /// Name.
    pub name: String,
    /// Kinematic, dynamic or network: what the paper compares.
    pub family: &'static str,
    /// Where its values come from.
    pub source: Source,
    /// Which they are.
    pub columns: Vec<FeatureColumn>,
}

/// Every set that a recording with these signals has: the parts of the kinematic set, the whole of it, forces, the action,
/// each signal of the network, and `network`, all signals together.
pub fn available(signals: &[(String, usize)]) -> Vec<SetSpec> {
    let kinematic =
        |name: &str, columns| SetSpec { name: name.to_owned(), family: "kinematic", source: Source::Body, columns };
    let parts = body_columns();
    let whole =
        parts.iter().filter(|(name, _)| *name != "appendages").flat_map(|(_, columns)| columns.clone()).collect();
    let mut sets = vec![kinematic("kinematic", whole)];
    sets.extend(parts.into_iter().map(|(name, columns)| kinematic(name, columns)));
    let mut network = Vec::new();
    for (name, columns) in virtual_columns(signals) {
        let family = if name == "dynamic" { "dynamic" } else { "network" };
        if family == "network" && name != "action" {
            network.extend(columns.clone());
        }
        sets.push(SetSpec { name, family, source: Source::Virtual, columns });
    }
    if !network.is_empty() {
        sets.push(SetSpec { name: "network".to_owned(), family: "network", source: Source::Virtual, columns: network });
    }
    sets
}

/// Words for the spread of a distribution, and what its centre is called beside it.
const SPREADS: [(&str, &[&str]); 5] = [
    ("scale", &["loc", "mean"]),
    ("std", &["mean", "loc"]),
    ("sd", &["mean", "loc"]),
    ("sigma", &["mu", "mean"]),
    ("stddev", &["mean", "loc"]),
];

/// The two signals of a policy that hold its latent's distribution, centre and spread, whatever the latent is called: two
/// signals of one length whose names differ in one word, as `latent_loc` and `latent_scale` or `intention_mean` and
/// `intention_std`.
pub fn latent(signals: &[(String, usize)]) -> Option<(&str, &str)> {
    let centre = |spread: &str, len: usize| {
        let named = |(word, centres): &(&str, &[&str])| {
            let (before, after) = spread.rsplit_once(word)?;
            let wanted = |name: &str| centres.iter().any(|centre| name == format!("{before}{centre}{after}"));
            signals.iter().find(|(name, l)| *l == len && wanted(name))
        };
        SPREADS.iter().find_map(named)
    };
    signals.iter().find_map(|(name, len)| Some((centre(name, *len)?.0.as_str(), name.as_str())))
}

/// The sets of these names, in their order.
///
/// # Errors
/// A name that no set has, with the names that there are.
pub fn select(sets: &[SetSpec], names: &[String]) -> Result<Vec<SetSpec>, String> {
    let find = |name: &String| {
        sets.iter().find(|set| set.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
            format!("feature set {name:?} is not there; this recording has {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latent_is_found_by_its_pair_of_signals() {
        let signals = |names: [(&str, usize); 4]| names.map(|(name, len)| (name.to_owned(), len)).to_vec();
        let own = signals([("action", 38), ("action_std", 38), ("latent_loc", 60), ("latent_scale", 60)]);
        assert_eq!(latent(&own), Some(("latent_loc", "latent_scale")));
        let other = signals([("z_sigma_q", 16), ("encoder", 16), ("z_mean_q", 16), ("action", 38)]);
        assert_eq!(latent(&other), Some(("z_mean_q", "z_sigma_q")));
        assert_eq!(latent(&signals([("latent_loc", 60), ("latent_scale", 30), ("action", 38), ("x", 1)])), None);
    }

    #[test]
    fn sets_are_found_by_name_or_the_names_are_told() {
        let sets = available(&[("latent_loc".into(), 60), ("encoder_0".into(), 512)]);
        let chosen = select(&sets, &["latent_loc".into(), "kinematic".into()]).expect("both are there");
        assert_eq!((chosen[0].columns.len(), chosen[1].columns.len()), (60, 213));
        let network = select(&sets, &["network".into()]).expect("there");
        assert_eq!(network[0].columns.len(), 572);
        let refused = select(&sets, &["latent".into()]).expect_err("no such set");
        assert!(refused.contains("latent_loc") && refused.contains("\"latent\""), "{refused}");
    }
}
