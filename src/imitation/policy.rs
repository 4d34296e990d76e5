//! The policy network: observation and noise in; action and every inner signal out.

use mimicd_rat::ACTUATORS;

use super::ImitationError;
use super::graph::{Graph, Port};
use super::manifest::{PolicyManifest, Squash};
use super::noise::Noise;

/// How latent noise is drawn, for robustness tests; [`LatentNoise::default`] is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatentNoise {
    /// Factor on the noise; 0 takes the latent's mean, 1 samples as in training.
    pub gain: f64,
    /// Which dimensions get how much.
    pub structure: NoiseStructure,
}

/// Which latent dimensions get how much noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoiseStructure {
    /// As much as the network's own scale says.
    #[default]
    Standard,
    /// The same in all dimensions: the mean of the scale.
    Uniform,
    /// Most where the network's scale is smallest.
    Inverted,
}

/// One recorded signal: its name and where its values are in the row of all signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Name, e.g. `latent_loc`.
    pub name: String,
    /// Values, in the row that [`super::ImitationStep::signals`] holds.
    pub range: std::ops::Range<usize>,
}

/// A loaded policy.
pub(super) struct Policy {
    graph: Graph,
    signals: Vec<Signal>,
    /// Graph output of each signal.
    outputs: Vec<usize>,
    squash: Squash,
    /// Draws noise for the network's own latent.
    noise_input: bool,
    /// Signal of the latent's scale, where noise can be restructured.
    scale_signal: Option<usize>,
    /// The latent that the host draws from the prior.
    latent: Vec<f32>,
    correlation: f64,
    source: Noise,
}

/// The action is the graph's first bound output.
const ACTION: usize = 0;

impl Policy {
    pub(super) fn load(manifest: &PolicyManifest, observation: usize, seed: u64) -> Result<Self, ImitationError> {
        let network = &manifest.network;
        let latent = manifest.latent.as_ref();
        let noise = latent.and_then(|latent| latent.noise.as_deref().map(|name| (name, latent.size)));
        let mut inputs = vec![Port { name: &network.input, rows: 1, columns: observation }];
        inputs.extend(noise.map(|(name, columns)| Port { name, rows: 1, columns }));
        let mut outputs = vec![Port { name: &network.action, rows: 1, columns: action_columns(manifest) }];
        let mut sources = Vec::with_capacity(manifest.signal.len());
        for signal in &manifest.signal {
            let known = outputs.iter().position(|port| port.name == signal.output);
            sources.push(known.unwrap_or(outputs.len()));
            if known.is_none() {
                outputs.push(Port { name: &signal.output, rows: 1, columns: signal.length });
            }
        }
        let graph = Graph::load(&network.file, &inputs, &outputs)?;
        let host_latent = latent.filter(|latent| latent.noise.is_none()).map_or(0, |latent| latent.size);
        let signals = layout(manifest);
        let scale_signal = signals.iter().position(|signal| signal.name == "latent_scale");
        Ok(Self {
            graph,
            signals,
            outputs: sources,
            squash: network.squash,
            noise_input: noise.is_some(),
            scale_signal,
            latent: vec![0.0; host_latent],
            correlation: latent.map_or(0.0, |latent| latent.correlation),
            source: Noise::new(seed),
        })
    }

    /// The network's signals, in the manifest's order.
    pub(super) fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// The observation, to be filled before [`Policy::run`], and the latent that the host drew (empty where the network
    /// has its own).
    pub(super) fn observation_mut(&mut self) -> (&mut [f32], &[f32]) {
        (self.graph.input_mut(0), &self.latent)
    }

    /// Starts a new episode: the prior forgets its past.
    pub(super) fn restart(&mut self) {
        self.latent.fill(0.0);
    }

    /// Draws the next latent from the prior, where the host does.
    pub(super) fn advance_prior(&mut self) {
        let innovation = (1.0 - self.correlation * self.correlation).sqrt();
        for value in &mut self.latent {
            *value = (self.correlation * f64::from(*value) + innovation * self.source.normal()) as f32;
        }
    }

    /// Runs the network; the action is clipped to [-1, 1]. False when a value is not finite (the action is then zero).
    pub(super) fn run(
        &mut self,
        noise: LatentNoise,
        action: &mut [f32; ACTUATORS],
        signals: &mut [f32],
    ) -> Result<bool, ImitationError> {
        if self.noise_input {
            self.draw_noise(noise, signals);
        }
        self.graph.run()?;
        let given = self.graph.output(ACTION);
        let finite = given.iter().all(|value| value.is_finite());
        for (out, &value) in action.iter_mut().zip(given) {
            let value = if self.squash == Squash::Tanh { value.tanh() } else { value };
            *out = if finite { value.clamp(-1.0, 1.0) } else { 0.0 };
        }
        self.copy_signals(signals);
        Ok(finite)
    }

    /// The network multiplies noise by its scale; structures other than its own divide that out, using the scale of the
    /// step before (this step's is not known before the network runs, and it changes slowly).
    fn draw_noise(&mut self, noise: LatentNoise, last_signals: &[f32]) {
        let scale = self.scale_signal.map(|index| &last_signals[self.signals[index].range.clone()]);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let input = self.graph.input_mut(1);
        if noise.gain == 0.0 {
            input.fill(0.0);
            return;
        }
        for (dimension, value) in input.iter_mut().enumerate() {
            let factor = match (noise.structure, scale) {
                (NoiseStructure::Uniform, Some(scale)) => mean(scale) / scale[dimension].max(1e-3),
                (NoiseStructure::Inverted, Some(scale)) => {
                    let extremes = scale.iter().fold((f32::MAX, 0.0_f32), |(l, h), &s| (l.min(s), h.max(s)));
                    (extremes.0 + extremes.1 - scale[dimension]) / scale[dimension].max(1e-3)
                }
                _ => 1.0,
            };
            *value = (noise.gain * self.source.normal()) as f32 * factor;
        }
    }

    fn copy_signals(&self, out: &mut [f32]) {
        for (signal, &output) in self.signals.iter().zip(&self.outputs) {
            out[signal.range.clone()].copy_from_slice(&self.graph.output(output)[..signal.range.len()]);
        }
    }
}

/// Columns of the output that holds the action: more than 38 where it also holds standard deviations.
fn action_columns(manifest: &PolicyManifest) -> usize {
    let named = manifest.signal.iter().find(|signal| signal.output == manifest.network.action);
    named.map_or(ACTUATORS, |signal| signal.length.max(ACTUATORS))
}

fn layout(manifest: &PolicyManifest) -> Vec<Signal> {
    let mut next = 0;
    let mut place = |signal: &super::manifest::SignalSpec| {
        let range = next..next + signal.length;
        next = range.end;
        Signal { name: signal.name.clone(), range }
    };
    manifest.signal.iter().map(&mut place).collect()
}
