//! Forward kinematics by MuJoCo, on a scratch state of its own.

use std::sync::Arc;

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use crate::RatModel;
use crate::model::{QPOS_LEN, QVEL_LEN};

/// Where everything is at one set of coordinates. One per thread; [`Kinematics::set`] does not allocate.
#[derive(Debug)]
pub struct Kinematics<'rat> {
    rat: &'rat RatModel,
    data: MjData<Arc<MjModel>>,
    keypoint_bodies: Vec<usize>,
}

impl<'rat> Kinematics<'rat> {
    /// A scratch state at the reference posture.
    pub fn new(rat: &'rat RatModel) -> Self {
        let site_bodies = rat.model().site_bodyid();
        let keypoint_bodies = rat
            .keypoint_sites()
            .iter()
            .map(|&site| usize::try_from(site_bodies[site]).expect("a site is on a body"))
            .collect();
        let mut kinematics = Self { rat, data: rat.make_data(), keypoint_bodies };
        kinematics.data.kinematics();
        kinematics
    }

    /// Moves everything to these coordinates. The root quaternion need not be normalised.
    pub fn set(&mut self, qpos: &[f64; QPOS_LEN]) {
        self.data.qpos_mut().copy_from_slice(qpos);
        self.data.kinematics();
    }

    /// Body origins in the world, metres, by body id.
    pub fn body_positions_m(&self) -> &[[f64; 3]] {
        self.data.xpos()
    }

    /// World-from-body rotations, row by row, by body id.
    pub fn body_rotations(&self) -> &[[f64; 9]] {
        self.data.xmat()
    }

    /// World-from-body quaternions, w first, by body id.
    pub fn body_quaternions(&self) -> &[[f64; 4]] {
        self.data.xquat()
    }

    /// Geom centres in the world, metres, by geom id.
    pub fn geom_positions_m(&self) -> &[[f64; 3]] {
        self.data.geom_xpos()
    }

    /// World-from-geom rotations, row by row, by geom id.
    pub fn geom_rotations(&self) -> &[[f64; 9]] {
        self.data.geom_xmat()
    }

    /// Keypoint `index` in the world, metres.
    pub fn keypoint_m(&self, index: usize) -> [f64; 3] {
        self.data.site_xpos()[self.rat.keypoint_sites()[index]]
    }

    /// Derivative of keypoint `index` against the velocities: three rows (x, y, z), metres per metre or radian.
    ///
    /// Root rotations are about the root's own axes, as in `qvel`.
    pub fn keypoint_jacobian(&self, index: usize, rows: &mut [[f64; QVEL_LEN]; 3]) {
        rows.iter_mut().for_each(|row| row.fill(0.0));
        let point = self.keypoint_m(index);
        let mut body = self.keypoint_bodies[index];
        while body != 0 {
            for joint in self.rat.bodies()[body].joints.clone() {
                let dof = self.rat.joints()[joint].dof;
                if joint == 0 {
                    self.free_columns(point, rows);
                } else {
                    let arm = minus(point, self.data.xanchor()[joint]);
                    let column = cross(self.data.xaxis()[joint], arm);
                    (0..3).for_each(|axis| rows[axis][dof] = column[axis]);
                }
            }
            body = self.rat.bodies()[body].parent;
        }
    }

    fn free_columns(&self, point: [f64; 3], rows: &mut [[f64; QVEL_LEN]; 3]) {
        let root = self.rat.joints()[0].body;
        let arm = minus(point, self.data.xpos()[root]);
        let rotation = self.data.xmat()[root];
        for turn in 0..3 {
            let axis = [rotation[turn], rotation[3 + turn], rotation[6 + turn]];
            let column = cross(axis, arm);
            for (row, value) in rows.iter_mut().zip(column) {
                row[3 + turn] = value;
            }
            rows[turn][turn] = 1.0;
        }
    }
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}
