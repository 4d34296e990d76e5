//! Imitation: a virtual rat that does in MuJoCo what the real one does, driven by a policy network.
//!
//! [`ImitationStage::follow`] takes one registered posture a frame. It keeps a window of them, looks ahead of the virtual
//! rat (into frames already seen in `delayed` mode, into a prediction in `forecast` mode, always saying which in the mask),
//! runs the policy at its control rate (100 Hz) and the physics at 2 ms between, measures the distance to the real animal,
//! and puts the virtual rat back onto the reference when it no longer imitates. Nothing pulls on the simulated body but its
//! own 38 actuators. A policy is a folder: `policy.toml` ([`PolicyManifest`]) beside an ONNX graph.
//!
//! The stage is deterministic: the same postures, configuration and seed give the same numbers.

mod assist;
mod error;
pub mod eval;
mod forecast;
mod graph;
mod manifest;
mod noise;
mod observation;
mod physics;
mod policy;
mod rails;
mod reference;
mod resample;
mod rotation;
mod stage;
mod step;
mod tail;
mod tracking;

pub use error::ImitationError;
pub use manifest::{
    ActuatorKind, BodySpec, ControlSpec, Egocentric, Field, LatentSpec, NetworkSpec, ObservationSpec, PolicyManifest,
    ResampleSpec, SignalSpec, Squash,
};
pub use policy::{LatentNoise, NoiseStructure, Signal};
pub use rails::ResetReason;
pub use stage::ImitationStage;
pub use step::ImitationStep;
pub use tracking::{PARTS, TrackingError};

#[cfg(test)]
mod tests;
