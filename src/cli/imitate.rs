//! `mimicd imitate`: policies measured, motions made.

use std::process::ExitCode;

use crate::export::{FlatColumn, write_flat};
use crate::imitation::eval::{FRAME_WORDS, Frames, ImitateCommand, imitate};

/// Runs the command; an evaluation with a folder also writes every frame there.
pub(super) fn run(command: &ImitateCommand) -> anyhow::Result<ExitCode> {
    let outcome = imitate(command)?;
    if let ImitateCommand::Eval(args) = command
        && let Some(folder) = &args.out
    {
        write_flat(&folder.join("frames.parquet"), columns(outcome.frames))?;
    }
    println!("{}", outcome.text);
    Ok(ExitCode::SUCCESS)
}

fn columns(frames: Frames) -> Vec<(String, FlatColumn)> {
    let words = FRAME_WORDS.iter().zip(frames.words).map(|(&name, values)| (name.to_owned(), FlatColumn::Text(values)));
    let numbers = Frames::number_names().into_iter().zip(frames.numbers.into_iter().map(FlatColumn::Number));
    words.chain(numbers).collect()
}
