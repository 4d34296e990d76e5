//! NWB 2: one HDF5 file, written offline from the sealed dataset.
//!
//! | in the file | is |
//! |---|---|
//! | `acquisition/ephys_<array>` | samples as they are, with each sample's rig time; a gap is a jump of the timestamps |
//! | `acquisition/<camera>` | the video file, outside, with each frame's mid-exposure |
//! | `acquisition/triggers`, `events/events` | the board's triggers; edges, buttons, marks, outputs, commands |
//! | `processing/behavior/pose` | keypoints in the world (ndx-pose), with the skeleton and the cameras' calibration |
//! | `processing/body`, `processing/virtual_rat` | registered coordinates; the imitating rat's, its actions and errors |
//! | `units` | spikes by array, tetrode and unit |
//! | `intervals/gaps` | every gap that the recording declares |
//!
//! All times are seconds of rig time, on one clock. The specifications of the namespaces are embedded when the set-up has
//! made them (`cargo xtask setup --peers`); without them readers need pynwb and ndx-pose of their own.

mod behaviour;
mod ephys;
mod file;
mod session;
mod specifications;
mod table;
mod units;
mod video;

use std::path::{Path, PathBuf};

use file::NwbFile;

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use super::{ExportReport, frames};
use crate::record::schema::FRAMES;

/// Version of the NWB schema that the file follows.
const NWB_VERSION: &str = "2.11.0";

/// What NWB wants to know of the animal and a recording does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFacts {
    /// Latin binomial.
    pub species: String,
    /// `M`, `F`, `O` or `U` (unknown).
    pub sex: String,
    /// ISO 8601 duration (`P90D`), or a range; `P1D/` = a day or more, which is all that is known of an unnamed rat.
    pub age: String,
    /// Specifications to embed; none when the file is not there.
    pub specifications: PathBuf,
}

impl Default for SubjectFacts {
    fn default() -> Self {
        Self {
            species: "Rattus norvegicus".to_owned(),
            sex: "U".to_owned(),
            age: "P1D/".to_owned(),
            specifications: PathBuf::from(".deps/nwb/specifications.json"),
        }
    }
}

pub(super) fn write(
    dataset: &Dataset,
    out: &Path,
    subject: &SubjectFacts,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    let path = out.join(format!("{}.nwb", dataset.name()));
    for array in dataset.arrays() {
        progress.expect(dataset.bytes(&array.table()));
    }
    for table in [FRAMES, "pose", "body", "virtual", "spikes", "events", "triggers"] {
        progress.expect(dataset.bytes(table));
    }
    let file = NwbFile::create(&path, dataset.name())?;
    file.mark(NWB_VERSION)?;
    let root = file.root();
    let general = session::write(&root, dataset, subject)?;
    let electrodes = ephys::electrodes(&general, dataset)?;
    let cameras = video::devices(&general, dataset)?;
    let acquisition = root.group("acquisition")?;
    ephys::series(&acquisition, dataset, &electrodes, progress, report)?;
    // A video is referred to as a whole file, so all of its frames keep their times, whatever the range.
    let videos = frames::in_videos(&dataset.whole(), progress)?;
    video::series(&acquisition, dataset, &path, &cameras, &videos)?;
    session::triggers(&acquisition, dataset, progress)?;
    session::events(&root, dataset, progress)?;
    session::gaps(&root, dataset)?;
    let processing = root.group("processing")?;
    behaviour::pose(&processing, dataset, progress)?;
    behaviour::bodies(&processing, dataset, progress)?;
    units::write(&root, dataset, &electrodes, progress)?;
    if !specifications::embed(&file, &root, &subject.specifications)? {
        let remark = "the NWB specifications are not embedded: readers need pynwb 4 and, for poses, ndx-pose";
        report.remarks.push(remark.to_owned());
    }
    file.close()?;
    report.files += 1;
    Ok(())
}
