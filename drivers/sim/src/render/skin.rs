//! The rat's skin: the body model's own skin mesh, bent by the bones.

use mujoco_rs::wrappers::MjModel;
use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion, Vector3};

use crate::SimError;
use crate::rat::{BODIES, Placement};

/// Influences below this share are dropped and the rest scaled up: they are a third of all and move nothing by 0.1 mm.
const WEIGHT_MIN: f32 = 0.04;

/// A triangle mesh in rest with the share of each bone in each vertex.
#[derive(Clone, Debug)]
pub(crate) struct Skin {
    points_m: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    /// Vertices in rest, at the body model's own scale.
    pub(crate) rest_m: Vec<[f64; 3]>,
    /// Area that each vertex stands for, m2.
    pub(crate) areas_m2: Vec<f32>,
    influences: Vec<(u16, f32)>,
    starts: Vec<u32>,
    rest_from_world: Vec<Isometry3<f64>>,
    bones: Vec<usize>,
    /// Corners, counter-clockwise seen from outside.
    pub(crate) triangles: Vec<[u32; 3]>,
}

/// The skin in one pose, world frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bent {
    pub(crate) points_m: Vec<[f32; 3]>,
    pub(crate) normals: Vec<[f32; 3]>,
}

impl Skin {
    /// Takes the skin out of a model read from the unscaled body file; `scale` is the body's.
    pub(crate) fn from_model(model: &MjModel, scale: f64) -> Result<Self, SimError> {
        let rest: Vec<[f32; 3]> = model.skin_vert().to_vec();
        if rest.is_empty() {
            return Err(SimError::Body("the body model has no skin: expected rodent_walker_skin.skn beside it".into()));
        }
        let triangles: Vec<[u32; 3]> = model.skin_face().iter().map(|face| face.map(|corner| corner as u32)).collect();
        let points_m: Vec<[f32; 3]> = rest.iter().map(|point| point.map(|x| x * scale as f32)).collect();
        let (normals, areas_m2) = normals_and_areas(&points_m, &triangles);
        let (starts, influences) = read_influences(model, rest.len());
        let bones = model.skin_bonebodyid().iter().map(|body| *body as usize - 1).collect();
        let rest_from_world = model
            .skin_bonebindpos()
            .iter()
            .zip(model.skin_bonebindquat())
            .map(|bind| bind_inverse(bind, scale))
            .collect();
        let rest_m = rest.iter().map(|point| point.map(f64::from)).collect();
        Ok(Self { points_m, normals, rest_m, areas_m2, influences, starts, rest_from_world, bones, triangles })
    }

    /// A mesh that no bone bends, for tests.
    #[cfg(test)]
    pub(crate) fn rigid(points_m: Vec<[f32; 3]>, triangles: Vec<[u32; 3]>) -> (Self, Bent) {
        let (normals, areas_m2) = normals_and_areas(&points_m, &triangles);
        let bent = Bent { points_m: points_m.clone(), normals: normals.clone() };
        let rest_m = vec![[0.0; 3]; points_m.len()];
        let starts = vec![0; points_m.len() + 1];
        let (influences, rest_from_world, bones) = (Vec::new(), Vec::new(), Vec::new());
        (Self { points_m, normals, rest_m, areas_m2, influences, starts, rest_from_world, bones, triangles }, bent)
    }

    /// Bends the skin to `placement`.
    pub(crate) fn bend(&self, placement: &Placement, bent: &mut Bent) {
        let mut matrices = [[0.0f32; 12]; BODIES];
        for (bone, (body, rest)) in self.bones.iter().zip(&self.rest_from_world).enumerate() {
            let world_from_rest = (placement[*body] * rest).to_homogeneous();
            matrices[bone] = std::array::from_fn(|k| world_from_rest[(k / 4, k % 4)] as f32);
        }
        bent.points_m.clear();
        bent.normals.clear();
        for (index, (point, normal)) in self.points_m.iter().zip(&self.normals).enumerate() {
            let mut m = [0.0f32; 12];
            for (bone, weight) in &self.influences[self.starts[index] as usize..self.starts[index + 1] as usize] {
                for (sum, entry) in m.iter_mut().zip(&matrices[usize::from(*bone)]) {
                    *sum += weight * entry;
                }
            }
            let turn = |v: &[f32; 3], r: usize| m[4 * r] * v[0] + m[4 * r + 1] * v[1] + m[4 * r + 2] * v[2];
            bent.points_m.push(std::array::from_fn(|r| turn(point, r) + m[4 * r + 3]));
            bent.normals.push(std::array::from_fn(|r| turn(normal, r)));
        }
    }
}

fn bind_inverse((position, quaternion): (&[f32; 3], &[f32; 4]), scale: f64) -> Isometry3<f64> {
    let [x, y, z] = position.map(|x| f64::from(x) * scale);
    let [w, i, j, k] = quaternion.map(f64::from);
    let rotation = UnitQuaternion::new_normalize(Quaternion::new(w, i, j, k));
    Isometry3::from_parts(Translation3::new(x, y, z), rotation).inverse()
}

/// Influences per vertex, small ones dropped; `starts` has one entry more than there are vertices.
fn read_influences(model: &MjModel, vertices: usize) -> (Vec<u32>, Vec<(u16, f32)>) {
    let mut per_vertex: Vec<Vec<(u16, f32)>> = vec![Vec::new(); vertices];
    for (bone, (first, count)) in model.skin_bonevertadr().iter().zip(model.skin_bonevertnum()).enumerate() {
        for entry in *first as usize..(*first + *count) as usize {
            let vertex = model.skin_bonevertid()[entry] as usize;
            per_vertex[vertex].push((bone as u16, model.skin_bonevertweight()[entry]));
        }
    }
    let mut starts = vec![0];
    let mut influences = Vec::new();
    for all in per_vertex {
        let largest = all.iter().map(|(_, weight)| *weight).fold(0.0, f32::max);
        let kept = all.iter().filter(|(_, weight)| *weight >= WEIGHT_MIN.min(largest));
        let total: f32 = kept.clone().map(|(_, weight)| weight).sum();
        influences.extend(kept.map(|(bone, weight)| (*bone, weight / total)));
        starts.push(influences.len() as u32);
    }
    (starts, influences)
}

fn normals_and_areas(points_m: &[[f32; 3]], triangles: &[[u32; 3]]) -> (Vec<[f32; 3]>, Vec<f32>) {
    let at = |corner: u32| Point3::from(points_m[corner as usize]);
    let mut sums = vec![Vector3::<f32>::zeros(); points_m.len()];
    let mut areas = vec![0.0f32; points_m.len()];
    for [a, b, c] in triangles {
        let twice = (at(*b) - at(*a)).cross(&(at(*c) - at(*a)));
        for corner in [a, b, c] {
            sums[*corner as usize] += twice;
            areas[*corner as usize] += twice.norm() / 6.0;
        }
    }
    (sums.iter().map(|sum| sum.try_normalize(0.0).unwrap_or_else(Vector3::z).into()).collect(), areas)
}
