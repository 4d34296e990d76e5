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
