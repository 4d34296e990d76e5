//! From the stock MJCF to the edited MuJoCo model.
//!
//! Two steps. The root body has to stand *around* the stock tree, which the editing interface cannot do, so the text gets
//! a `walker` element first; everything else is edited on the parsed model.

use std::path::Path;

use mujoco_rs::wrappers::mj_editing::MjSpec;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtBias, MjtGeomBase, MjtJoint};
use mujoco_rs::wrappers::{SpecElement, SpecItem};

use crate::{Actuators, RatError, RatOptions};

/// MuJoCo marks a site whose offset is zero (to about a micrometre) as sharing its body's frame and from then on ignores
/// changes of the offset, silently. No site of ours is ever that close to zero.
const OFFSET_NUDGE_M: f64 = 2e-6;

/// Half-size of the drawn floor and the spacing of its grid, metres; the floor itself is infinite.
const FLOOR_SIZE_M: [f64; 3] = [1.0, 1.0, 0.1];

/// Room for contacts and constraints in each simulation state. The stock file asks for 8,000 constraint rows, for which
/// MuJoCo reserves gigabytes; a rat on a floor makes a few hundred, and locking memory makes every reserved byte real.
const ARENA: &str = "32M";

/// Reads the file and compiles the edited body.
pub(crate) fn compile(path: &Path, options: &RatOptions) -> Result<MjModel, RatError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| RatError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    let text = with_walker(&text).map_err(|found| RatError::NotTheRat { path: path.to_owned(), found })?;
    let mut spec = MjSpec::from_xml_string(&text).map_err(refused)?;
    scale_lengths(&mut spec, options.scale, &joints_without_anchor(&text));
    scale_segments(&mut spec, options)?;
    if options.actuators == Actuators::Torque {
        make_torque_actuators(&mut spec);
    }
    if options.floor {
        spec.world_body_mut()
            .add_geom()
            .with_name("floor")
            .with_type(MjtGeomBase::mjGEOM_PLANE)
            .with_size(FLOOR_SIZE_M);
    }
    add_sites(&mut spec, options)?;
    let simulation = spec.option_mut();
    simulation.timestep = options.timestep_s;
    if let Some(effort) = options.solver {
        simulation.iterations = i32::try_from(effort.iterations).unwrap_or(i32::MAX);
        simulation.ls_iterations = i32::try_from(effort.line_search_iterations).unwrap_or(i32::MAX);
    }
    spec.compile().map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> RatError {
    RatError::Mujoco { reason: error.to_string() }
}

/// Wraps the stock tree in a `walker` body with a free joint and leaves the drawn skin out (nothing here draws it).
fn with_walker(text: &str) -> Result<String, String> {
    let around = |text: &str, open: &str, close: &str| {
        let start = text.find(open)?;
        let end = text[start..].find(close)? + start;
        Some((start, end))
    };
    let (start, end) =
        around(text, "<worldbody>", "</worldbody>").ok_or_else(|| "it has no <worldbody> element".to_owned())?;
    if !text[start..end].contains("name=\"torso\"") {
        return Err("it has no body named \"torso\"".to_owned());
    }
    if text[start..end].contains("<freejoint") || text[start..end].contains("type=\"free\"") {
        return Err("it has a free joint already".to_owned());
    }
    let tree = &text[start + "<worldbody>".len()..end];
    let head = without(&without(&text[..start], "<asset>", "</asset>"), "<size ", "/>");
    let mut out = String::with_capacity(text.len() + 100);
    out.push_str(&head);
    out.push_str(&format!("<size memory=\"{ARENA}\"/>"));
    out.push_str("<worldbody><body name=\"walker\"><freejoint name=\"root\"/>");
    out.push_str(tree);
    out.push_str("</body>");
    out.push_str(&text[end..]);
    Ok(out)
}

/// The text without its first element from `open` to `close`, if there is one.
fn without(text: &str, open: &str, close: &str) -> String {
    let Some(start) = text.find(open) else { return text.to_owned() };
    let Some(end) = text[start..].find(close).map(|end| start + end + close.len()) else { return text.to_owned() };
    [&text[..start], &text[end..]].concat()
}

/// Names of the joints whose anchor is not written on the joint itself but comes from its class.
fn joints_without_anchor(text: &str) -> Vec<String> {
    text.split("<joint ")
        .skip(1)
        .filter_map(|rest| {
            let element = &rest[..rest.find('>')?];
            let name = element.split("name=\"").nth(1)?.split('"').next()?;
            (!element.contains(" pos=\"")).then(|| name.to_owned())
        })
        .collect()
}

/// Scales every length written on an element; MuJoCo then derives masses and inertias from sizes and densities.
///
/// Joint anchors that come from a class (the lumbar ones) keep their length: so does the scaling that published
/// solutions and policies were made with, and the golden test holds it to a micrometre.
fn scale_lengths(spec: &mut MjSpec, scale: f64, anchors_kept: &[String]) {
    let by = |values: &mut [f64; 3]| values.iter_mut().for_each(|value| *value *= scale);
    let bodies: Vec<String> = spec.body_iter().map(|body| body.name().to_owned()).collect();
    for name in bodies.iter().filter(|name| *name != "world") {
        if let Some(body) = spec.world_body_mut().child_mut(name) {
            by(body.pos_mut());
        }
    }
    for geom in spec.geom_iter_mut() {
        by(geom.pos_mut());
        by(geom.size_mut());
    }
    for site in spec.site_iter_mut() {
        by(site.pos_mut());
        by(site.size_mut());
    }
    for joint in spec.joint_iter_mut().filter(|joint| joint.type_() != MjtJoint::mjJNT_FREE) {
        if !anchors_kept.iter().any(|name| name == joint.name()) {
            by(joint.pos_mut());
        }
    }
}

/// Scales single bodies on top: their shapes and the origins of their children.
fn scale_segments(spec: &mut MjSpec, options: &RatOptions) -> Result<(), RatError> {
    for segment in &options.segments {
        let by = |values: &mut [f64; 3]| values.iter_mut().for_each(|value| *value *= segment.factor);
        let body = spec
            .world_body_mut()
            .child_mut(&segment.body)
            .ok_or_else(|| RatError::UnknownSegment { body: segment.body.clone() })?;
        for child in body.body_iter_mut() {
            by(child.pos_mut());
        }
        for geom in body.geom_iter_mut(false) {
            by(geom.pos_mut());
            by(geom.size_mut());
        }
        for site in body.site_iter_mut(false) {
            by(site.pos_mut());
            by(site.size_mut());
        }
    }
    Ok(())
}

/// Gain = largest force, no bias; the activation filter stays.
fn make_torque_actuators(spec: &mut MjSpec) {
    for actuator in spec.actuator_iter_mut() {
        let force_max = actuator.forcerange()[1];
        actuator.gainprm_mut().fill(0.0);
        actuator.gainprm_mut()[0] = force_max;
        actuator.biasprm_mut().fill(0.0);
        actuator.set_biastype(MjtBias::mjBIAS_NONE);
    }
}

fn add_sites(spec: &mut MjSpec, options: &RatOptions) -> Result<(), RatError> {
    for site in &options.sites {
        let body = spec
            .world_body_mut()
            .child_mut(&site.body)
            .ok_or_else(|| RatError::UnknownBody { site: site.name.clone(), body: site.body.clone() })?;
        let mut offset_m = site.offset_m;
        if offset_m.iter().all(|value| value.abs() < OFFSET_NUDGE_M) {
            offset_m[0] = OFFSET_NUDGE_M;
        }
        body.add_site().with_name(&site.name).with_pos(offset_m).with_size([0.002; 3]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::with_walker;

    #[test]
    fn the_walker_stands_around_the_torso() {
        let text = "<mujoco><size njmax=\"8000\"/><asset><skin/></asset><worldbody><body name=\"torso\"/></worldbody><x/></mujoco>";
        assert_eq!(
            with_walker(text).unwrap(),
            "<mujoco><size memory=\"32M\"/><worldbody><body name=\"walker\"><freejoint name=\"root\"/><body name=\"torso\"/></body></worldbody><x/></mujoco>"
        );
    }

    #[test]
    fn another_body_is_refused() {
        assert!(with_walker("<mujoco/>").unwrap_err().contains("worldbody"));
        assert!(with_walker("<worldbody><body name=\"mouse\"/></worldbody>").unwrap_err().contains("torso"));
    }
}
