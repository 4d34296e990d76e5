//! Poisson regression of spike counts on features: log link, elastic net, blocked cross-validation.
//!
//! The objective of a unit with counts `y` is the one of scikit-learn's `PoissonRegressor`, with an L1 part added:
//!
//! ```text
//! mean over bins of [exp(η) − y η]  +  strength · [ mixing · |w|₁ + (1 − mixing)/2 · |w|² ],   η = b + w · x
//! ```
//!
//! `x` is the causal window of a set's principal components; the intercept `b` is not penalised. All units of an array are
//! fitted at once: a pass over the data is two matrix products, shared by them all, and each unit then takes its own
//! proximal Newton step with a curvature that is estimated from a part of the bins. The objective is convex, so that the
//! way to the minimum does not matter: a fit that was warm from live data ends where one from cold does.

mod crossval;
mod descent;
mod design;
mod quadratic;
mod sample;

pub use crossval::{CrossValidation, cores, fit_fold, for_each_fold, score_block, score_fold, score_sets};
pub use descent::{Coefficients, Descent};
pub use design::Design;
pub use sample::SampleSize;

/// How models are fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlmSettings {
    /// Bins of the causal window, the present one included.
    pub window_bins: usize,
    /// Strength of the penalty.
    pub strength: f64,
    /// Share of the L1 part, 0 = ridge, 1 = lasso.
    pub mixing: f64,
    /// Share of the features' variance that the principal components keep.
    pub variance_share: f64,
    /// A fit is done when no entry of its subgradient is larger.
    pub tolerance: f64,
    /// Passes at most.
    pub passes_max: usize,
}

impl Default for GlmSettings {
    /// The paper's settings.
    fn default() -> Self {
        Self { window_bins: 5, strength: 0.01, mixing: 0.5, variance_share: 0.9, tolerance: 1e-8, passes_max: 100 }
    }
}

#[cfg(test)]
mod tests;
