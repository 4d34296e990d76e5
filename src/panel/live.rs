//! Live numbers and camera images over one WebSocket a page.
//!
//! One task makes each message once for all clients and puts it into a latest-value slot. A client gets a *turn*: the
//! images and spikes that are new to it, then the numbers. It answers `drawn` (any text will do) when it has drawn them, and only then
//! gets the newest as its next turn: whoever is slow misses messages, and nothing is queued for anyone. Without the
//! answer the operating system's and the browser's buffers are a queue, and a page on a busy machine shows what was true
//! a minute ago. A hidden page draws nothing, so it gets nothing, until it is seen again. A client that does not take a
//! message within [`SEND_TIME_MAX`], or is not heard of for [`SILENCE_MAX`] (browsers answer pings by themselves), is cut off.
//!
//! Text messages are JSON: `{"standing", "status", "snapshot", "events"}`, where `events` is the number of the last line of
//! the event log, and before it `{"spikes", "board_nanos"}`: those since this client's turn before (the newest
//! [`SPIKES_MAX`] of them), as `[milliseconds before the frame of board_nanos, array, tetrode, unit]`. Binary messages are images with what was found in that very frame: one byte camera index, one byte number n
//! of keypoints, then little-endian f32: crop (left, top, width, height), n keypoints (x, y, confidence), n keypoints back from
//! 3D (x, y; NaN for none), all in pixels of the camera's frame; then a JPEG.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use jpeg_encoder::{ColorType, Encoder};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Shared, Standing};
use crate::pipeline::{Preview, RigStatus, Snapshot, SpikeRing};

/// A client that takes longer than this for one message is cut off.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// Lines are tried this often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A client of which nothing is heard for this long, not even pongs, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// One answer a turn (at most 60 a second) and pongs; more than this many messages a second is a flood.
const MESSAGES_PER_SECOND_MAX: u32 = 100;
/// Longest message taken from a client.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Counters and health change slowly and cost locks.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// JPEG quality of previews.
const PREVIEW_QUALITY: u8 = 70;
/// Spikes in one message at most.
const SPIKES_MAX: usize = 2_000;

/// The newest of everything, for all clients.
pub(super) struct Live {
    numbers: watch::Sender<Arc<Moment>>,
    images: watch::Sender<Vec<(u64, Bytes)>>,
    clients: AtomicUsize,
}

impl Live {
    /// Nothing yet, for `cameras` cameras.
    pub(super) fn new(cameras: usize) -> Self {
        Self {
            numbers: watch::Sender::default(),
            images: watch::Sender::new(vec![(0, Bytes::new()); cameras]),
            clients: AtomicUsize::new(0),
        }
    }

    /// Pages connected.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

/// The numbers of an instant as text, and the last spikes before it, of which each client gets those that it lacks.
#[derive(Default)]
struct Moment {
    text: Utf8Bytes,
    spikes: SpikeRing,
    board_nanos: i64,
}

#[derive(Serialize)]
struct Spikes {
    spikes: Vec<(f32, u8, u16, u16)>,
    board_nanos: i64,
}

#[derive(Serialize)]
struct Numbers<'a> {
    standing: Standing,
    status: &'a RigStatus,
    snapshot: &'a Snapshot,
    events: u64,
}

/// Makes the number messages while anyone looks.
pub(super) async fn publish_numbers(shared: Arc<Shared>, hz: f64) {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / hz));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut snapshot = Snapshot::default();
    let mut status = RigStatus::default();
    let mut status_due = Instant::now();
    loop {
        ticks.tick().await;
        if shared.live.clients() == 0 {
            continue;
        }
        shared.view.snapshot(&mut snapshot);
        if Instant::now() >= status_due {
            status = shared.view.status();
            status_due = Instant::now() + STATUS_EVERY;
        }
        let events = shared.desk.events.last();
        let numbers = Numbers { standing: shared.desk.standing(), status: &status, snapshot: &snapshot, events };
        let text = serde_json::to_string(&numbers).expect("plain numbers serialise").into();
        let moment = Moment { text, spikes: snapshot.spikes.clone(), board_nanos: snapshot.board_nanos };
        shared.live.numbers.send_replace(Arc::new(moment));
    }
}

fn new_spikes(moment: &Moment, seen: &mut u64) -> Vec<(f32, u8, u16, u16)> {
    let ring = &moment.spikes;
    let from = (*seen).max(ring.total.saturating_sub(SPIKES_MAX as u64));
    *seen = ring.total;
    let age_millis = |nanos: i64| (moment.board_nanos - nanos) as f32 * 1e-6;
    ring.since(from).map(|tick| (age_millis(tick.board_nanos), tick.array, tick.tetrode, tick.unit)).collect()
}

/// Makes the image messages while anyone looks.
pub(super) async fn publish_images(shared: Arc<Shared>, hz: f64) {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / hz));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut previews = vec![Preview::default(); shared.view.info().cameras.len()];
    let mut wanted = false;
    loop {
        ticks.tick().await;
        if wanted != (shared.live.clients() > 0) {
            wanted = !wanted;
            shared.view.want_previews(wanted);
        }
        if !wanted {
            continue;
        }
        for (camera, preview) in previews.iter_mut().enumerate() {
            if !shared.view.preview(camera, preview) {
                continue;
            }
            if let Some(message) = image_message(camera as u8, preview) {
                shared.live.images.send_modify(|images| images[camera] = (preview.sequence, message));
            }
        }
    }
}

/// `None` for an image whose size is not what it says: nothing is shown rather than something wrong.
fn image_message(camera: u8, preview: &Preview) -> Option<Bytes> {
    let pixels = usize::from(preview.width_px) * usize::from(preview.height_px);
    if pixels == 0 || preview.grey.len() != pixels {
        return None;
    }
    let marks = &preview.marks;
    let count = u8::try_from(marks.keypoints_px.len()).ok()?;
    let mut message = Vec::with_capacity(pixels / 4);
    message.extend([camera, count]);
    let numbers =
        marks.crop_px.iter().chain(marks.keypoints_px.as_flattened()).chain(marks.reprojected_px.as_flattened());
    message.extend(numbers.flat_map(|number| number.to_le_bytes()));
    Encoder::new(&mut message, PREVIEW_QUALITY)
        .encode(&preview.grey, preview.width_px, preview.height_px, ColorType::Luma)
        .ok()?;
    Some(message.into())
}

/// The upgrade.
pub(super) async fn live(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(move |socket| async move {
        shared.live.clients.fetch_add(1, Ordering::Relaxed);
        serve(&shared.live, socket).await;
        shared.live.clients.fetch_sub(1, Ordering::Relaxed);
    })
}

/// What a client has said, and when.
struct Hearing {
    heard: Instant,
    second: (Instant, u32),
    drawn: bool,
}

impl Hearing {
    fn new(now: Instant) -> Self {
        Self { heard: now, second: (now, 0), drawn: true }
    }

    /// Takes note of a message; false when the client is to be cut off.
    fn take(&mut self, message: Option<Result<Message, axum::Error>>, now: Instant) -> bool {
        let Some(Ok(message)) = message else { return false };
        if now - self.second.0 > Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.heard = now;
        self.drawn |= matches!(message, Message::Text(_));
        self.second.1 <= MESSAGES_PER_SECOND_MAX && !matches!(message, Message::Close(_))
    }
}

async fn serve(live: &Live, mut socket: WebSocket) {
    let mut numbers = live.numbers.subscribe();
    let mut sent = Sent { images: vec![0; live.images.borrow().len()], spikes: 0 };
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hearing = Hearing::new(Instant::now());
    loop {
        tokio::select! {
            changed = numbers.changed(), if hearing.drawn => {
                let moment = numbers.borrow_and_update().clone();
                let images = live.images.borrow().clone();
                hearing.drawn = false;
                if changed.is_err() || !turn(&mut socket, &mut sent, images, &moment).await {
                    return;
                }
            }
            message = socket.recv() => if !hearing.take(message, Instant::now()) {
                return;
            },
            now = pings.tick() => {
                if now.saturating_duration_since(hearing.heard) > SILENCE_MAX
                    || !send(&mut socket, Message::Ping(Bytes::new())).await
                {
                    return;
                }
            }
        }
    }
}

/// What a client has been sent: the number of each camera's last image, and of spikes.
struct Sent {
    images: Vec<u64>,
    spikes: u64,
}

/// Sends images and spikes that are newer than those `sent`, then the numbers; false when the client did not take them.
async fn turn(socket: &mut WebSocket, sent: &mut Sent, images: Vec<(u64, Bytes)>, moment: &Moment) -> bool {
    for (sent, (sequence, message)) in sent.images.iter_mut().zip(images) {
        if sequence != *sent {
            *sent = sequence;
            if !send(socket, Message::Binary(message)).await {
                return false;
            }
        }
    }
    let spikes = new_spikes(moment, &mut sent.spikes);
    if !spikes.is_empty() {
        let spikes = Spikes { spikes, board_nanos: moment.board_nanos };
        let text = serde_json::to_string(&spikes).expect("plain numbers serialise");
        if !send(socket, Message::Text(text.into())).await {
            return false;
        }
    }
    send(socket, Message::Text(moment.text.clone())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_TIME_MAX, socket.send(message)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{SpikeTick, ViewMarks};

    #[test]
    fn spikes_are_sent_once_with_their_age() {
        let mut moment = Moment { board_nanos: 10_000_000, spikes: SpikeRing::with_capacity(8), ..Default::default() };
        moment.spikes.push(SpikeTick { board_nanos: 4_000_000, array: 1, tetrode: 7, unit: 2 });
        let (mut quick, mut slow) = (0, 0);
        assert_eq!(new_spikes(&moment, &mut quick), [(6.0, 1, 7, 2)]);
        assert!(new_spikes(&moment, &mut quick).is_empty());
        moment.board_nanos += 20_000_000;
        moment.spikes.push(SpikeTick { board_nanos: 28_000_000, array: 0, tetrode: 3, unit: 1 });
        assert_eq!(new_spikes(&moment, &mut quick), [(2.0, 0, 3, 1)]);
        assert_eq!(new_spikes(&moment, &mut slow), [(26.0, 1, 7, 2), (2.0, 0, 3, 1)], "a page that missed a turn");
    }

    #[test]
    fn an_image_of_the_wrong_size_is_not_shown() {
        let marks = ViewMarks { crop_px: [1.0, 2.0, 3.0, 4.0], ..ViewMarks::with_keypoints(2) };
        let good = Preview { sequence: 1, width_px: 16, height_px: 8, grey: vec![128; 128], marks };
        let message = image_message(3, &good).expect("an image");
        let jpeg = 2 + 4 * (4 + 2 * 3 + 2 * 2);
        assert_eq!((message[0], message[1], &message[6..10]), (3, 2, &2.0_f32.to_le_bytes()[..]));
        assert_eq!(&message[jpeg..jpeg + 2], [0xff, 0xd8], "a JPEG's first bytes after the marks");
        assert!(image_message(0, &Preview { width_px: 17, ..good }).is_none());
    }
}
