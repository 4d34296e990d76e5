//! Evaluation of policies: motions through the stage, scored, tabulated and drawn.

mod motion;
mod run;

pub use motion::Motion;
pub use run::{Row, Run, run, run_with};
