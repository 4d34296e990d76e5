//! Many latents at once: how variable the next action is, given what the policy is unsure of.

use mimicd_rat::ACTUATORS;

use super::ImitationError;
use super::graph::{Graph, Port};
use super::manifest::{PolicyManifest, ResampleSpec};
use super::noise::Noise;
use super::policy::Signal;

/// Draws latents from the policy's own distribution and runs the decoder on all of them; the graph computes what they
/// share (the proprioceptive half of the first layer) once.
pub(super) struct Resampler {
    graph: Graph,
    samples: usize,
    loc: std::ops::Range<usize>,
    scale: std::ops::Range<usize>,
    noise: Noise,
}

impl Resampler {
    pub(super) fn load(
        spec: &ResampleSpec,
        manifest: &PolicyManifest,
        signals: &[Signal],
        observation: usize,
        seed: u64,
    ) -> Result<Self, ImitationError> {
        let range = |name: &str| {
            let known = signals.iter().find(|signal| signal.name == name).map(|signal| signal.range.clone());
            known.ok_or_else(|| ImitationError::Rig {
                reason: format!(
                    "policy {:?}: resample names the signal {name:?}, which it does not have",
                    manifest.name
                ),
            })
        };
        let (loc, scale) = (range(&spec.loc)?, range(&spec.scale)?);
        let latent = loc.len();
        let inputs = [
            Port { name: "observation", rows: 1, columns: observation },
            Port { name: "loc", rows: 1, columns: latent },
            Port { name: "scale", rows: 1, columns: latent },
            Port { name: "noise", rows: spec.samples, columns: latent },
        ];
        let outputs = [Port { name: "action", rows: spec.samples, columns: ACTUATORS }];
        let graph = Graph::load(&spec.file, &inputs, &outputs)?;
        Ok(Self { graph, samples: spec.samples, loc, scale, noise: Noise::new(seed ^ 0x5EED) })
    }

    /// Writes each action's standard deviation over the samples; gives the mean of the latent's own.
    pub(super) fn run(
        &mut self,
        observation: &[f32],
        signals: &[f32],
        deviation: &mut [f32],
    ) -> Result<f32, ImitationError> {
        self.graph.input_mut(0).copy_from_slice(observation);
        self.graph.input_mut(1).copy_from_slice(&signals[self.loc.clone()]);
        let scale = &signals[self.scale.clone()];
        self.graph.input_mut(2).copy_from_slice(scale);
        for value in self.graph.input_mut(3) {
            *value = self.noise.normal() as f32;
        }
        self.graph.run()?;
        let actions = self.graph.output(0);
        for (actuator, out) in deviation.iter_mut().enumerate() {
            let column = || actions.iter().skip(actuator).step_by(ACTUATORS);
            let mean = column().sum::<f32>() / self.samples as f32;
            *out = (column().map(|a| (a - mean) * (a - mean)).sum::<f32>() / (self.samples - 1) as f32).sqrt();
        }
        Ok(scale.iter().sum::<f32>() / scale.len() as f32)
    }
}
