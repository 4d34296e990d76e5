//! Which keypoints are drawn as joined.

/// Joined pairs of the rat23 skeleton, by name.
const RAT23: [(&str, &str); 23] = [
    ("EarL", "EarR"),
    ("Snout", "EarL"),
    ("Snout", "EarR"),
    ("EarL", "SpineF"),
    ("EarR", "SpineF"),
    ("SpineF", "SpineM"),
    ("SpineM", "SpineL"),
    ("SpineL", "TailBase"),
    ("SpineF", "ShoulderL"),
    ("ShoulderL", "ElbowL"),
    ("ElbowL", "WristL"),
    ("WristL", "HandL"),
    ("SpineF", "ShoulderR"),
    ("ShoulderR", "ElbowR"),
    ("ElbowR", "WristR"),
    ("WristR", "HandR"),
    ("SpineL", "HipL"),
    ("HipL", "KneeL"),
    ("KneeL", "AnkleL"),
    ("AnkleL", "FootL"),
    ("SpineL", "HipR"),
    ("HipR", "KneeR"),
    ("KneeR", "AnkleR"),
];

/// Index pairs among `names`; pairs with a name that is not there are left out.
pub fn of(names: &[String]) -> Vec<[u16; 2]> {
    let index = |name: &str| names.iter().position(|other| other == name).map(|at| at as u16);
    let ends = [("AnkleR", "FootR")];
    RAT23.iter().chain(&ends).filter_map(|(a, b)| Some([index(a)?, index(b)?])).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_rat23_keypoint_is_on_a_bone() {
        let names: Vec<String> = mimicd_rat::RAT23.iter().map(|name| (*name).to_owned()).collect();
        let bones = super::of(&names);
        assert_eq!(bones.len(), 24);
        assert!((0..23).all(|i| bones.iter().any(|bone| bone.contains(&i))));
    }
}
