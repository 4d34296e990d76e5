//! Pictures of the rat: repeatable, exact through the lens, and cheap.

use std::path::{Path, PathBuf};

use mimicd_device::Span;
use mimicd_sim::rat::World;
use mimicd_sim::render::{Look, RenderAssets, Renderer, Scene, TwinCamera};
use rustix::time::{ClockId, clock_gettime};

#[derive(serde::Deserialize)]
struct Rig {
    camera: Vec<TwinCamera>,
}

fn cameras() -> Vec<TwinCamera> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/twin-calibration.toml");
    toml::from_str::<Rig>(&std::fs::read_to_string(path).unwrap()).unwrap().camera
}

fn mjcf() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/rat/rodent.xml");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent, run the set-up", path.display());
    None
}

#[test]
fn cameras_stand_around_the_arena_and_see_its_middle() {
    let cameras = cameras();
    assert_eq!(cameras.len(), 6);
    for camera in cameras {
        let [x, y, z] = camera.centre_m();
        let distance = (x * x + y * y + z * z).sqrt();
        assert!((0.9..1.25).contains(&distance) && (0.38..0.45).contains(&z), "{}: {x} {y} {z}", camera.name);
        let [u, v] = camera.project([0.0, 0.0, 0.05]).unwrap();
        assert!((100.0..540.0).contains(&u) && (100.0..390.0).contains(&v), "{}: {u} {v}", camera.name);
        for pixel in [[0.0, 0.0], [639.0, 399.0], [12.5, 388.25], [320.0, 200.0]] {
            let back = camera.pixel(camera.direction(pixel));
            assert!((back[0] - pixel[0]).hypot(back[1] - pixel[1]) < 1e-9, "{pixel:?} -> {back:?}");
        }
    }
}

#[test]
fn same_pose_and_seed_same_bytes() {
    let Some(path) = mjcf() else { return };
    let world = World::new(6, &path).unwrap();
    let assets = RenderAssets::load(&path, 1).unwrap();
    let camera = &cameras()[2];
    let mut renderers = [0, 1].map(|_| Renderer::new(camera, &assets, Look::default(), 5));
    let truth = world.truth_at(Span::from_millis(5_300));
    let mut images = [0, 1, 2].map(|_| vec![0; 640 * 400]);
    renderers[0].render(&truth.placement, 7, &mut images[0]);
    renderers[1].render(&world.truth_at(Span::from_millis(900)).placement, 3, &mut images[1]);
    renderers[1].render(&truth.placement, 7, &mut images[1]);
    renderers[1].render(&truth.placement, 8, &mut images[2]);
    assert!(images[0] == images[1], "a renderer's past must not show");
    assert!(images[0] != images[2], "every frame has noise of its own");
}

#[test]
fn the_rat_is_where_its_keypoints_project() {
    let Some(path) = mjcf() else { return };
    let world = World::new(8, &path).unwrap();
    let assets = RenderAssets::load(&path, 1).unwrap();
    let mut seen = [0usize; 2];
    for camera in &cameras() {
        let quiet = Look { noise_read: 0.0, noise_shot: 0.0, shadow: 0.0, ..Look::default() };
        let mut renderer = Renderer::new(camera, &assets, quiet, 5);
        let mut empty = vec![0; 640 * 400];
        // A rat moved out of every picture leaves the empty arena.
        let away = nalgebra::Translation3::new(0.0, 0.0, 50.0);
        let truth = world.truth_at(Span::from_millis(3_000));
        renderer.render(&truth.placement.map(|part| away * part), 1, &mut empty);
        for step in 0..20 {
            let truth = world.truth_at(Span::from_millis(3_000 + 700 * step));
            let mut image = vec![0; 640 * 400];
            renderer.render(&truth.placement, 1, &mut image);
            for point in truth.keypoints_m {
                let [u, v] = camera.project(point).unwrap();
                if !(2.0..637.0).contains(&u) || !(2.0..397.0).contains(&v) {
                    assert!(!renderer.is_visible(point, 0.02) || (0.0..640.0).contains(&u));
                    continue;
                }
                // Every keypoint lies on or in the rat, so some pixel near it must differ from the empty arena.
                let near = (-2i32..=2).flat_map(|dy| (-2i32..=2).map(move |dx| (dx, dy)));
                let shows = near.into_iter().any(|(dx, dy)| {
                    let at = ((v.round() as i32 + dy) * 640 + u.round() as i32 + dx) as usize;
                    image[at].abs_diff(empty[at]) > 3
                });
                seen[usize::from(shows)] += 1;
            }
        }
    }
    assert!(seen[1] > 2_000 && seen[0] * 100 < seen[1], "keypoints beside and on the rat: {seen:?}");
}

/// Processor time of this thread: a shared machine's other work does not count.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[test]
#[ignore = "a measurement: run with --release -- --ignored --nocapture"]
fn cost_of_a_view() {
    let Some(path) = mjcf() else { return };
    let world = World::new(2, &path).unwrap();
    let assets = RenderAssets::load(&path, 1).unwrap();
    let mut renderers: Vec<Renderer> =
        cameras().iter().map(|camera| Renderer::new(camera, &assets, Look::default(), 1)).collect();
    let mut image = vec![0; 640 * 400];
    let mut scene = Scene::default();
    let (mut truth_us, mut scene_us, mut view_us) = (Vec::new(), Vec::new(), Vec::new());
    for frame in 0..500 {
        let start = cpu_us();
        let truth = world.truth_at(Span::from_millis(20 * frame));
        truth_us.push(cpu_us() - start);
        let start = cpu_us();
        assets.update(&mut scene, &truth.placement, renderers[0].look());
        scene_us.push(cpu_us() - start);
        for renderer in &mut renderers {
            let start = cpu_us();
            renderer.render_scene(&scene, frame as u64, &mut image);
            view_us.push(cpu_us() - start);
        }
    }
    for (name, mut times) in [("truth_at", truth_us), ("scene (once for all views)", scene_us), ("view", view_us)] {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!("{name}: p50 {:.0} us, p99 {:.0} us, max {:.0} us", at(0.5), at(0.99), at(1.0));
    }
}
