//! The reference: what the real animal did, and where it will be.
//!
//! A ring of registered postures. Between two postures the reference is interpolated (linearly; the root's rotation along
//! the shorter arc); beyond the newest one it is extrapolated, no farther than the horizon: by the learned forecaster
//! where there is one and it has seen enough, else at constant velocity.

use mimicd_device::{BoardTime, HostTime, Span};
use mimicd_rat::{QPOS_LEN, QVEL_LEN};

use super::forecast::{Forecaster, PAST, SPACING};
use super::rotation::{conjugate, from_rotation_vector, multiply, normalised, rotation_vector, slerp};
use crate::clock::timed;

/// Coordinates of the body.
pub(super) type Qpos = [f64; QPOS_LEN];
/// Velocities of the body.
pub(super) type Qvel = [f64; QVEL_LEN];

/// Postures kept; at 50 Hz 1.3 s, at 200 Hz a third of a second, both longer than any look-ahead.
const FRAMES: usize = 64;
/// The velocity of the newest posture is measured over about this long, to keep registration noise out of it.
const VELOCITY_OVER: Span = Span::from_millis(40);

#[derive(Clone, Copy)]
struct Posture {
    at: BoardTime,
    qpos: Qpos,
}

/// The last postures, and the velocity of the newest.
pub(super) struct ReferenceWindow {
    ring: Vec<Posture>,
    /// Index of the oldest posture.
    first: usize,
    horizon: Span,
    velocity: Qvel,
    limits_rad: Vec<Option<[f64; 2]>>,
    forecaster: Option<Forecaster>,
    /// The forecaster has a prediction from the newest posture.
    forecast: bool,
}

impl ReferenceWindow {
    /// An empty window that predicts no farther than `horizon`; `limits_rad` are those of the 67 hinges.
    pub(super) fn new(horizon: Span, limits_rad: Vec<Option<[f64; 2]>>, forecaster: Option<Forecaster>) -> Self {
        let ring = Vec::with_capacity(FRAMES);
        Self { ring, first: 0, horizon, velocity: [0.0; QVEL_LEN], limits_rad, forecaster, forecast: false }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.ring.clear();
        self.first = 0;
        self.velocity = [0.0; QVEL_LEN];
        self.forecast = false;
    }

    /// Adds the posture at `at`; the caller keeps instants rising. Gives the time inside the forecaster's network, zero
    /// without a clock.
    pub(super) fn push(&mut self, at: BoardTime, qpos: &Qpos, now: Option<fn() -> HostTime>) -> Span {
        let mut posture = Posture { at, qpos: *qpos };
        let root = normalised([qpos[3], qpos[4], qpos[5], qpos[6]]);
        posture.qpos[3..7].copy_from_slice(&root);
        if self.ring.len() < FRAMES {
            self.ring.push(posture);
        } else {
            self.ring[self.first] = posture;
            self.first = (self.first + 1) % FRAMES;
        }
        self.velocity = self.measure_velocity();
        let spent;
        (self.forecast, spent) = self.predict(now);
        spent
    }

    /// Instant of the newest posture.
    pub(super) fn newest(&self) -> Option<BoardTime> {
        self.ring.len().checked_sub(1).map(|last| self.get(last).at)
    }

    /// Writes the reference at `at`; true where postures at both sides were seen. An empty window writes nothing.
    pub(super) fn sample(&self, at: BoardTime, out: &mut Qpos) -> bool {
        let Some(last) = self.ring.len().checked_sub(1) else { return false };
        let newest = self.get(last);
        if at > newest.at {
            self.extrapolate(newest, at.since(newest.at).min(self.horizon), out);
            return false;
        }
        let mut after = last;
        while after > 0 && self.get(after - 1).at >= at {
            after -= 1;
        }
        let (a, b) = (self.get(after.saturating_sub(1)), self.get(after));
        let width = b.at.since(a.at).secs_f64();
        let t = if width > 0.0 { (at.since(a.at).secs_f64() / width).clamp(0.0, 1.0) } else { 1.0 };
        interpolate(&a.qpos, &b.qpos, t, out);
        true
    }

    /// Velocity of the reference at `at`, over one control period `dt` back.
    pub(super) fn velocity(&self, at: BoardTime, dt: Span, out: &mut Qvel) {
        let (mut before, mut now) = ([0.0; QPOS_LEN], [0.0; QPOS_LEN]);
        if self.ring.is_empty() {
            out.fill(0.0);
            return;
        }
        self.sample(at - dt, &mut before);
        self.sample(at, &mut now);
        difference(&before, &now, dt.secs_f64(), out);
    }

    fn get(&self, index: usize) -> &Posture {
        &self.ring[(self.first + index) % self.ring.len()]
    }

    fn measure_velocity(&self) -> Qvel {
        let mut velocity = [0.0; QVEL_LEN];
        let last = self.ring.len() - 1;
        let newest = self.get(last);
        let mut before = last;
        while before > 0 && newest.at.since(self.get(before).at) < VELOCITY_OVER {
            before -= 1;
        }
        let dt_s = newest.at.since(self.get(before).at).secs_f64();
        // Across a gap the two postures say nothing about the speed now.
        if before < last && dt_s < 3.0 * VELOCITY_OVER.secs_f64() {
            difference(&self.get(before).qpos, &newest.qpos, dt_s, &mut velocity);
        }
        velocity
    }

    /// Runs the forecaster on the last frames; false where there is none or the past is too short or has a gap. And the time
    /// inside its network.
    fn predict(&mut self, now: Option<fn() -> HostTime>) -> (bool, Span) {
        let Some(mut forecaster) = self.forecaster.take() else { return (false, Span::ZERO) };
        let last = self.ring.len() - 1;
        let newest = self.get(last).at;
        let reach = Span::from_nanos(SPACING.nanos() * PAST as i64);
        let whole = newest.since(self.get(0).at) >= reach
            && (1..=last)
                .rev()
                .take_while(|&i| newest.since(self.get(i).at) < reach)
                .all(|i| self.get(i).at.since(self.get(i - 1).at) < VELOCITY_OVER + SPACING);
        if whole {
            let (mut before, mut after) = ([0.0; QPOS_LEN], [0.0; QPOS_LEN]);
            let mut displacement = [0.0; QVEL_LEN];
            self.sample(newest - reach, &mut before);
            for index in 0..PAST {
                let left = Span::from_nanos(SPACING.nanos() * (PAST - 1 - index) as i64);
                self.sample(newest - left, &mut after);
                difference(&before, &after, 1.0, &mut displacement);
                forecaster.set_past(index, &displacement);
                before = after;
            }
        }
        let (predicted, spent) = timed(now, || whole && forecaster.run());
        self.forecaster = Some(forecaster);
        (predicted, spent)
    }

    fn extrapolate(&self, from: &Posture, after: Span, out: &mut Qpos) {
        let mut move_by = [0.0; QVEL_LEN];
        match self.forecaster.as_ref().filter(|_| self.forecast) {
            Some(forecaster) => forecaster.displacement(after, &mut move_by),
            None => {
                for (displacement, velocity) in move_by.iter_mut().zip(&self.velocity) {
                    *displacement = velocity * after.secs_f64();
                }
            }
        }
        for axis in 0..3 {
            out[axis] = from.qpos[axis] + move_by[axis];
        }
        let root = [from.qpos[3], from.qpos[4], from.qpos[5], from.qpos[6]];
        let turn = from_rotation_vector([move_by[3], move_by[4], move_by[5]]);
        out[3..7].copy_from_slice(&normalised(multiply(root, turn)));
        for (hinge, limits) in self.limits_rad.iter().enumerate() {
            let angle = from.qpos[7 + hinge] + move_by[6 + hinge];
            out[7 + hinge] = limits.map_or(angle, |[low, high]| angle.clamp(low, high));
        }
    }
}

/// Between two postures.
pub(super) fn interpolate(a: &Qpos, b: &Qpos, t: f64, out: &mut Qpos) {
    for (index, value) in out.iter_mut().enumerate() {
        *value = a[index] + (b[index] - a[index]) * t;
    }
    let root = slerp([a[3], a[4], a[5], a[6]], [b[3], b[4], b[5], b[6]], t);
    out[3..7].copy_from_slice(&root);
}

/// Velocity that leads from `a` to `b` in `dt_s` seconds: root linear in the world, root angular in the root's frame.
pub(super) fn difference(a: &Qpos, b: &Qpos, dt_s: f64, out: &mut Qvel) {
    for axis in 0..3 {
        out[axis] = (b[axis] - a[axis]) / dt_s;
    }
    let turn = rotation_vector(multiply(conjugate([a[3], a[4], a[5], a[6]]), [b[3], b[4], b[5], b[6]]));
    for axis in 0..3 {
        out[3 + axis] = turn[axis] / dt_s;
    }
    for hinge in 0..QPOS_LEN - 7 {
        out[6 + hinge] = (b[7 + hinge] - a[7 + hinge]) / dt_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posture(x: f64) -> Qpos {
        let mut qpos = [0.0; QPOS_LEN];
        qpos[0] = x;
        qpos[3] = 1.0;
        qpos[10] = x;
        qpos
    }

    fn moving() -> ReferenceWindow {
        let mut window = ReferenceWindow::new(Span::from_millis(100), vec![Some([-1.0, 1.0]); 67], None);
        for frame in 0..200_i64 {
            window.push(BoardTime::ZERO + Span::from_millis(20 * frame), &posture(0.01 * frame as f64), None);
        }
        window
    }

    #[test]
    fn the_past_is_interpolated_and_the_future_goes_on() {
        let window = moving();
        let newest = window.newest().unwrap();
        let mut out = [0.0; QPOS_LEN];
        assert!(window.sample(newest - Span::from_millis(30), &mut out));
        assert!((out[0] - (1.99 - 0.015)).abs() < 1e-12);
        assert!(!window.sample(newest + Span::from_millis(40), &mut out));
        assert!((out[0] - 2.01).abs() < 1e-12, "{}", out[0]);
        assert!((out[10] - 1.0).abs() < 1e-12, "a hinge stops at its limit");
        window.sample(newest + Span::from_millis(4_000), &mut out);
        assert!((out[0] - 2.04).abs() < 1e-12, "no prediction beyond the horizon");
    }

    #[test]
    fn a_gap_leaves_no_velocity() {
        let mut window = moving();
        let later = window.newest().unwrap() + Span::from_millis(500);
        window.push(later, &posture(9.0), None);
        let mut out = [0.0; QPOS_LEN];
        window.sample(later + Span::from_millis(100), &mut out);
        assert!((out[0] - 9.0).abs() < 1e-12);
        window.clear();
        assert!(window.newest().is_none() && !window.sample(later, &mut out));
    }
}
