//! Neural encoding: does what the animal did, or what the virtual rat's network computed, predict the spikes?
//!
//! The analyses of Aldarondo and others (2024), for one's own animal: Poisson regression of each unit on feature sets
//! ([`glm`]), similarity of representations of behaviours ([`rsa`]), variability by behaviour ([`variability`]). The pure
//! parts know nothing of files; [`store`] puts a recording's tables on one grid of bins, [`analysis`] runs everything over
//! it, [`report`] shows it, and [`live`] does the same while the animal is still in the arena.

pub mod analysis;
pub mod behaviour;
mod command;
pub mod discriminate;
pub mod folds;
pub mod glm;
pub mod grid;
pub mod live;
pub mod live_similarity;
pub mod moments;
mod output;
mod publish;
mod published_counts;
pub mod report;
pub mod rsa;
pub mod score;
pub mod settings;
pub mod store;
pub mod testing;
pub mod units;
pub mod variability;

pub use command::{EncodeError, EncodeOptions, Encoded, encode};
pub use folds::Folds;
pub use publish::published;
