//! How the stock rat is changed when it is loaded.

use crate::{KeypointSite, RatError, rat23_sites};

/// How the 38 actuators turn a control in [-1, 1] into a force. Both keep the stock first-order filter (40 ms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Actuators {
    /// The stock form: a control is a set point between the joint limits.
    #[default]
    Servo,
    /// A control is a fraction of the largest force; what policies of the MIMIC family drive.
    Torque,
}

/// Which body carries the free joint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// A `walker` body put around the whole rat, near the floor between the paws when it stands.
    #[default]
    Walker,
}

/// Proportions: one body made longer or shorter than the scale of the whole animal says.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentScale {
    /// The body; its shapes and the origins of the bodies that hang from it are scaled, nothing beyond.
    pub body: String,
    /// Length against the scaled stock body.
    pub factor: f64,
}

/// Effort of MuJoCo's constraint solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SolverEffort {
    /// Most iterations of the solver in one step.
    pub iterations: u32,
    /// Most iterations of its line search.
    pub line_search_iterations: u32,
}

/// How the stock rat is changed when it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct RatOptions {
    /// Length of the animal against the stock body; masses follow by volume. The field uses 0.9.
    pub scale: f64,
    /// Bodies with proportions of their own, on top of `scale`.
    pub segments: Vec<SegmentScale>,
    /// Form of the actuators.
    pub actuators: Actuators,
    /// Where the free joint is.
    pub root: Root,
    /// Put an infinite floor at z = 0.
    pub floor: bool,
    /// Keypoints to add as sites.
    pub sites: Vec<KeypointSite>,
    /// Physics step, seconds. Stock: 2 ms.
    pub timestep_s: f64,
    /// Effort of the constraint solver; `None` keeps MuJoCo's own.
    pub solver: Option<SolverEffort>,
}

impl Default for RatOptions {
    fn default() -> Self {
        Self {
            scale: 0.9,
            segments: Vec::new(),
            actuators: Actuators::Servo,
            root: Root::Walker,
            floor: true,
            sites: rat23_sites(),
            timestep_s: 0.002,
            solver: None,
        }
    }
}

impl RatOptions {
    pub(crate) fn check(&self) -> Result<(), RatError> {
        let within = |name: &str, value: f64, low: f64, high: f64, expected: &'static str| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(RatError::Option { name: name.to_owned(), value, expected })
            }
        };
        within("scale", self.scale, 0.05, 5.0, "0.05 to 5")?;
        within("timestep_s", self.timestep_s, 1e-5, 0.02, "0.00001 to 0.02")?;
        for segment in &self.segments {
            within(&format!("segment {}", segment.body), segment.factor, 0.2, 5.0, "0.2 to 5")?;
        }
        for site in &self.sites {
            for value in site.offset_m {
                within(&format!("offset of {}", site.name), value, -0.5, 0.5, "-0.5 to 0.5 m")?;
            }
        }
        Ok(())
    }
}
