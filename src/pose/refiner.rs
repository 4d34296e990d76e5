//! A learned correction of keypoints in 3D.
//!
//! A network that looks at views has habits: a joint inside the coat is drawn to where the coat ends, from one side more than
//! from the other. Neither triangulation nor a volume can see them, because all views agree. A refiner was shown many poses of one animal with the
//! truth and gives each keypoint a bounded correction. It knows that animal and that network only, so it is part of the
//! model's manifest and of nobody else's.

use mimicd_device::Integrity;
use nalgebra::Vector3;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::egocentric::{Egocentric, POINT_ROW, VIEW_ROW};
use super::manifest::RefinerSpec;
use super::network::{check_tensor, open, zeros};
use super::{PoseError, PoseEstimate, Provider};
use crate::geometry::CameraModel;

/// Runs before the first frame: the runtime chooses kernels and grows its memory in the first ones.
const WARM_UP_RUNS: usize = 3;

/// A refiner's graph with its tensors. It is far too small for a GPU and always runs on the CPU.
pub(super) struct Refiner {
    session: Session,
    binding: IoBinding,
    points: Tensor<f32>,
    views: Tensor<f32>,
    offsets: Tensor<f32>,
    axis: [usize; 2],
    limit_mm: f64,
}

impl Refiner {
    /// Opens the graph for poses of these keypoints from `views` cameras, checks its shapes, binds its memory and warms it
    /// up.
    pub(super) fn load(spec: &RefinerSpec, keypoints: &[String], views: usize) -> Result<Self, PoseError> {
        let file = spec.file.as_path();
        let count = keypoints.len();
        let session = open(file, Provider::Cpu, 1)?;
        let shapes = [vec![1, count, POINT_ROW], vec![1, views, count, VIEW_ROW], vec![1, count, 3]];
        check_tensor(file, "input", session.inputs(), RefinerSpec::POINTS, &shapes[0])?;
        check_tensor(file, "input", session.inputs(), RefinerSpec::VIEWS, &shapes[1])?;
        check_tensor(file, "output", session.outputs(), RefinerSpec::OFFSETS, &shapes[2])?;
        let fail = |error: ort::Error| PoseError::graph(file, "run", error.message().to_owned());
        let allocator = Allocator::default();
        let tensor = |shape: &[usize]| zeros(&allocator, shape).map_err(fail);
        let (points, views, mut offsets) = (tensor(&shapes[0])?, tensor(&shapes[1])?, tensor(&shapes[2])?);
        let mut binding = session.create_binding().map_err(fail)?;
        binding.bind_input(RefinerSpec::POINTS, &points).map_err(fail)?;
        binding.bind_input(RefinerSpec::VIEWS, &views).map_err(fail)?;
        binding.bind_output(RefinerSpec::OFFSETS, &mut offsets).map_err(fail)?;
        let place = |name: &String| keypoints.iter().position(|own| own == name);
        let axis = spec.axis.each_ref().map(|name| place(name).expect("the manifest is checked"));
        let limit_mm = f64::from(spec.limit_mm);
        let mut refiner = Self { session, binding, points, views, offsets, axis, limit_mm };
        for _ in 0..WARM_UP_RUNS {
            refiner.run().map_err(|reason| PoseError::graph(file, "run", reason))?;
        }
        Ok(refiner)
    }

    /// Shows the graph a pose; `None` when the animal's axis is missing, which leaves nothing to correct.
    pub(super) fn look(&mut self, cameras: &[CameraModel], pose: &PoseEstimate) -> Option<Egocentric> {
        let [rear, front] = self.axis.map(|index| &pose.keypoints[index]);
        let frame = Egocentric::of(rear, front)?;
        frame.describe(cameras, pose, self.points.extract_tensor_mut().1, self.views.extract_tensor_mut().1);
        Some(frame)
    }

    /// Runs the graph on what it was shown.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.session.run_binding(&self.binding).map(drop).map_err(|error| error.message().to_owned())
    }

    /// Corrects every keypoint that is there by what the graph gave for the pose in this frame; what was not a number
    /// corrects nothing and is flagged.
    pub(super) fn correct(&self, frame: &Egocentric, out: &mut PoseEstimate) {
        let offsets = self.offsets.extract_tensor().1;
        for (keypoint, offset) in out.keypoints.iter_mut().zip(offsets.as_chunks::<3>().0) {
            if keypoint.confidence <= 0.0 {
                continue;
            }
            let offset = Vector3::from(offset.map(f64::from));
            let length = offset.norm();
            if !length.is_finite() {
                out.integrity |= Integrity::NOT_FINITE;
                continue;
            }
            let bounded = offset * (self.limit_mm / length.max(self.limit_mm));
            keypoint.correct(&frame.to_world_m(&bounded));
        }
    }
}
