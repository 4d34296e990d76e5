//! Evaluation of policies: motions through the stage, scored, tabulated and drawn.

mod command;
mod motion;
mod plot;
mod produce;
mod run;
mod table;

pub use command::{EvalArgs, ImitateCommand, Modes, Outcome, imitate};
pub use motion::Motion;
pub use plot::{Curve, draw};
pub use produce::MotionsArgs;
pub use run::{Row, Run, run, run_with};
pub use table::{FRAME_WORDS, Frames, Summary};
