//! Images made ahead of their delivery, on a thread of the twin's own.
//!
//! A real camera costs the host no arithmetic. So in real time each simulated one has a thread that renders the next image
//! at low priority some time before it is due; the edge thread only exchanges buffers. When nobody waits (stepped mode, or
//! the image was not ordered in time) it is made on the spot.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mimicd_device::HostTime;

use crate::pace;
use crate::scene::{Painter, Shot};

/// Lower than everything that measures; 19 is the lowest.
const NICENESS: i32 = 5;

struct Order {
    shot: Shot,
    not_before: HostTime,
    pixels: Box<[u8]>,
}

/// Makes a camera's images.
pub(crate) struct Darkroom {
    state: State,
    bytes: usize,
    first: Option<fn()>,
    made_late: u64,
    late: Option<Shot>,
}

enum State {
    /// Images are made when asked for; one spare buffer.
    OnTheSpot { painter: Painter },
    /// A thread makes them; the buffer is with us, or with the thread for `ordered`.
    Ahead { orders: SyncSender<Order>, prints: Receiver<Box<[u8]>>, ordered: Option<Shot>, spare: Option<Box<[u8]>> },
    /// Between the two; never seen from outside.
    Moving,
}

/// An image that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Developed {
    /// It is in the given pixels.
    Yes,
    /// The thread is still at it.
    NotYet,
}

impl Darkroom {
    /// `first` is what its thread does first.
    pub(crate) fn new(painter: Painter, bytes: usize, first: Option<fn()>) -> Self {
        Self { state: State::OnTheSpot { painter }, bytes, first, made_late: 0, late: None }
    }

    /// Images that were not ready when they were due.
    pub(crate) fn made_late(&self) -> u64 {
        self.made_late
    }

    /// Orders `shot` to be begun at `not_before`. The first order starts the thread. While the thread is at another image
    /// nothing is ordered.
    pub(crate) fn order(&mut self, shot: Shot, not_before: HostTime) {
        self.employ();
        let State::Ahead { orders, prints, ordered, spare } = &mut self.state else { return };
        if ordered.is_some_and(|other| other != shot)
            && let Ok(unwanted) = prints.try_recv()
        {
            // Nobody waits for that one any more.
            (*ordered, *spare) = (None, Some(unwanted));
        }
        if ordered.is_some() {
            return;
        }
        let Some(pixels) = spare.take() else { return };
        if orders.send(Order { shot, not_before, pixels }).is_ok() {
            *ordered = Some(shot);
        }
    }

    /// Puts the image of `shot` into `pixels`, exchanging buffers where it can.
    pub(crate) fn develop(&mut self, shot: Shot, pixels: &mut Box<[u8]>) -> Developed {
        let developed = match &mut self.state {
            State::OnTheSpot { painter } => {
                painter.paint(shot, pixels);
                Developed::Yes
            }
            State::Ahead { prints, ordered, spare, .. } if *ordered == Some(shot) => match prints.try_recv() {
                Ok(print) => {
                    *ordered = None;
                    *spare = Some(std::mem::replace(pixels, print));
                    Developed::Yes
                }
                Err(_) => Developed::NotYet,
            },
            _ => {
                self.order(shot, HostTime::ZERO);
                Developed::NotYet
            }
        };
        if developed == Developed::NotYet && self.late != Some(shot) {
            self.late = Some(shot);
            self.made_late += 1;
        }
        developed
    }

    fn employ(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Moving);
        self.state = match state {
            State::OnTheSpot { painter } => start_thread(painter, self.bytes, self.first),
            already => already,
        };
    }
}

fn start_thread(mut painter: Painter, bytes: usize, first: Option<fn()>) -> State {
    let (orders, inbox) = sync_channel::<Order>(1);
    let (outbox, prints) = sync_channel::<Box<[u8]>>(1);
    let work = move || {
        // Refused only where niceness is managed from outside; the images then compete at the default.
        rustix::process::setpriority_process(None, NICENESS).ok();
        if let Some(first) = first {
            first();
        }
        while let Ok(Order { shot, not_before, mut pixels }) = inbox.recv() {
            pace::sleep_until(not_before);
            painter.paint(shot, &mut pixels);
            if outbox.send(pixels).is_err() {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("twin-render".to_owned()).spawn(work);
    // Without a thread the channels are closed and every image is NotYet: the camera is silent, which the rig reports.
    drop(spawned);
    State::Ahead { orders, prints, ordered: None, spare: Some(vec![0; bytes].into_boxed_slice()) }
}
