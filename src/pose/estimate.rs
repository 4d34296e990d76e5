//! What the pose stage says about one frame set.

use mimicd_device::{Integrity, Span};

use super::{CropBox, Keypoint};

/// What one view contributed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ViewEstimate {
    /// The part of the frame that the network saw; width 0 when the view was not used.
    pub crop: CropBox,
    /// x and y in frame pixels and confidence, for each keypoint; confidence 0 when not seen.
    pub keypoints_px: Vec<[f32; 3]>,
}

/// Whether the stage knows where the animal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TrackState {
    /// It does not; the coarse finder looks at whole views.
    #[default]
    Searching = 0,
    /// It was seen in this frame set.
    Tracking = 1,
    /// It was not seen in this frame set; its place is predicted from the sets before.
    Coasting = 2,
}

impl TrackState {
    /// Name as on the panel and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Tracking => "tracking",
            Self::Coasting => "coasting",
        }
    }
}

/// The pose of one frame set. Made once by `PoseStage::blank` and filled again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoseEstimate {
    /// In the order of `PoseStage::keypoint_names`.
    pub keypoints: Vec<Keypoint>,
    /// In camera order.
    pub views: Vec<ViewEstimate>,
    /// Whether the animal's place is known.
    pub state: TrackState,
    /// `PARTIAL`: a view or a keypoint is missing; `NOT_FINITE`: a network gave something that is not a number;
    /// `CORRUPT`: a network failed to run.
    pub integrity: Integrity,
    /// Time inside ONNX Runtime; zero where the stage has no clock (`PoseStage::set_clock`).
    pub inference: Span,
}

impl PoseEstimate {
    /// An estimate without content, of the right size.
    pub(super) fn sized(keypoints: usize, views: usize) -> Self {
        let view = ViewEstimate { crop: CropBox::default(), keypoints_px: vec![[0.0; 3]; keypoints] };
        Self { keypoints: vec![Keypoint::MISSING; keypoints], views: vec![view; views], ..Self::default() }
    }

    /// Forgets the last frame set; allocates only when the sizes differ.
    pub(super) fn clear(&mut self, keypoints: usize, views: usize) {
        if self.keypoints.len() != keypoints || self.views.len() != views {
            *self = Self::sized(keypoints, views);
            return;
        }
        self.keypoints.fill(Keypoint::MISSING);
        for view in &mut self.views {
            view.crop = CropBox::default();
            view.keypoints_px.fill([0.0; 3]);
        }
        self.state = TrackState::Searching;
        self.integrity = Integrity::empty();
        self.inference = Span::ZERO;
    }
}
