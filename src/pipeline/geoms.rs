//! The body's shapes as the panel draws them.

use mimicd_rat::{GeomShape, RatModel};

use super::{BodyGeom, GeomKind};

/// All visible shapes of `rat`.
pub fn of(rat: &RatModel) -> Vec<BodyGeom> {
    rat.geoms().iter().filter_map(geom).collect()
}

fn geom(geom: &mimicd_rat::Geom) -> Option<BodyGeom> {
    let (kind, size_m) = match geom.shape {
        GeomShape::Plane => return None,
        GeomShape::Sphere(radius) => (GeomKind::Sphere, [radius, 0.0, 0.0]),
        GeomShape::Capsule(radius, half) => (GeomKind::Capsule, [radius, half, 0.0]),
        GeomShape::Ellipsoid(radii) => (GeomKind::Ellipsoid, radii),
        GeomShape::Cylinder(radius, half) => (GeomKind::Cylinder, [radius, half, 0.0]),
        GeomShape::Box(half) => (GeomKind::Box, half),
    };
    Some(BodyGeom {
        kind,
        size_m: size_m.map(|value| value as f32),
        body: geom.body as u16,
        position_m: geom.position_m.map(|value| value as f32),
        quaternion: geom.quaternion.map(|value| value as f32),
        tint: [-1.0; 3],
    })
}
