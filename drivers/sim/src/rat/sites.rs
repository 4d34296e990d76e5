//! Where the twin's 23 keypoints are: the places a person would click on this rat.
//!
//! Trunk and head points lie on the skin (nose tip, ears, along the back, tail base), hips on the flank, limb points in the
//! joints. They ride on the same parts as the field's starting offsets ([`mimicd_rat::rat23_sites`]) but are not the same
//! points, as no real animal's are: registration has to fit its offsets to them.

use mimicd_rat::{KeypointSite, RAT23};
use nalgebra::Point3;

use super::skeleton::{Placement, Skeleton};
use crate::SimError;

/// Offsets on the left or in the middle, in metres after scaling; the right side mirrors y.
const OFFSETS: [(&str, &str, [f64; 3]); 14] = [
    ("Snout", "skull", [0.0369, 0.0, -0.0045]),
    ("Ear", "skull", [-0.0165, 0.0166, 0.0180]),
    ("SpineF", "vertebra_cervical_5", [-0.0108, 0.0, 0.0216]),
    ("SpineM", "vertebra_1", [0.0, 0.0, 0.0063]),
    ("SpineL", "pelvis", [0.0, 0.0, 0.0081]),
    ("TailBase", "pelvis", [-0.0225, 0.0, -0.0117]),
    ("Shoulder", "scapula", [0.0310, 0.0120, -0.0275]),
    ("Elbow", "upper_arm", [-0.0178, 0.0116, -0.0250]),
    ("Wrist", "lower_arm", [0.0212, 0.0126, -0.0197]),
    ("Hand", "hand", [0.0036, 0.0018, -0.0094]),
    ("Hip", "pelvis", [-0.0045, 0.0200, -0.0090]),
    ("Knee", "upper_leg", [0.0139, 0.0157, -0.0231]),
    ("Ankle", "lower_leg", [-0.0291, -0.0043, -0.0199]),
    ("Foot", "foot", [0.0190, 0.0069, -0.0025]),
];

/// The twin's 23 keypoints in [`RAT23`] order.
pub fn twin_sites() -> Vec<KeypointSite> {
    RAT23.iter().map(|name| site(name)).collect()
}

fn site(name: &str) -> KeypointSite {
    let part = OFFSETS.iter().find(|(part, ..)| name.strip_prefix(part).is_some_and(|side| side.len() <= 1));
    let (part, body, [x, y, z]) = *part.expect("every rat23 name starts with one of the table's names");
    let side = &name[part.len()..];
    let (body, sign) = match (side, body) {
        ("L" | "R", "skull" | "pelvis") => (body.to_owned(), if side == "R" { -1.0 } else { 1.0 }),
        ("L" | "R", _) => (format!("{body}_{side}"), if side == "R" { -1.0 } else { 1.0 }),
        _ => (body.to_owned(), 1.0),
    };
    KeypointSite { name: name.to_owned(), body, offset_m: [x, sign * y, z] }
}

/// The twin's keypoints bound to a skeleton's parts.
#[derive(Clone, Debug)]
pub struct Keypoints {
    on: Vec<(usize, Point3<f64>)>,
}

impl Keypoints {
    /// Binds [`twin_sites`] to `skeleton`.
    ///
    /// # Errors
    /// [`SimError::Body`] when the skeleton lacks one of the parts.
    pub fn new(skeleton: &Skeleton) -> Result<Self, SimError> {
        let bound = twin_sites().into_iter().map(|site| Ok((skeleton.body(&site.body)?, Point3::from(site.offset_m))));
        Ok(Self { on: bound.collect::<Result<_, SimError>>()? })
    }

    /// Where the keypoints are, m, in [`RAT23`] order.
    pub fn place(&self, placement: &Placement) -> [[f64; 3]; 23] {
        std::array::from_fn(|index| {
            let (body, offset) = self.on[index];
            (placement[body] * offset).coords.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bodies_and_sides_agree_with_the_published_set() {
        for (twin, field) in twin_sites().iter().zip(mimicd_rat::rat23_sites()) {
            assert_eq!((&twin.name, &twin.body), (&field.name, &field.body));
        }
    }
}
