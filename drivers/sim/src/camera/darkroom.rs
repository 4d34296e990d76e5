//! Images made ahead of their delivery, on a thread of the twin's own.
//!
//! A real camera costs the host no arithmetic. So in real time each simulated one has a thread that renders the next image
//! at low priority some time before it is due; the edge thread only exchanges buffers. When nobody waits (stepped mode, or
//! the image was not ordered in time) it is made on the spot.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

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

struct Print {
    shot: Shot,
    pixels: Box<[u8]>,
}

/// Makes a camera's images.
pub(crate) struct Darkroom {
    state: State,
    bytes: usize,
    made_late: u64,
}

enum State {
    /// Images are made when asked for; one spare buffer.
    OnTheSpot { painter: Painter },
    /// A thread makes them; the buffer is with us, or with the thread for `ordered`.
    Ahead { orders: SyncSender<Order>, prints: Receiver<Print>, ordered: Option<Shot>, spare: Option<Box<[u8]>> },
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
    pub(crate) fn new(painter: Painter, bytes: usize) -> Self {
        Self { state: State::OnTheSpot { painter }, bytes, made_late: 0 }
    }

    /// Images that were not ready when they were due.
    pub(crate) fn made_late(&self) -> u64 {
        self.made_late
    }

    /// Orders `shot` to be begun at `not_before`. The first order starts the thread.
    pub(crate) fn order(&mut self, shot: Shot, not_before: HostTime) {
        self.employ();
        let State::Ahead { orders, ordered, spare, .. } = &mut self.state else { return };
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
        match &mut self.state {
            State::OnTheSpot { painter } => painter.paint(shot, pixels),
            State::Ahead { prints, ordered, spare, .. } if ordered.is_some() => match prints.try_recv() {
                Ok(print) => {
                    *ordered = None;
                    let fits = print.shot == shot;
                    *spare = Some(if fits { std::mem::replace(pixels, print.pixels) } else { print.pixels });
                    if !fits {
                        self.order_late(shot);
                        return Developed::NotYet;
                    }
                }
                Err(TryRecvError::Empty) => {
                    self.made_late += 1;
                    return Developed::NotYet;
                }
                Err(TryRecvError::Disconnected) => return Developed::NotYet,
            },
            _ => {
                self.order_late(shot);
                return Developed::NotYet;
            }
        }
        Developed::Yes
    }

    fn order_late(&mut self, shot: Shot) {
        self.made_late += 1;
        self.order(shot, HostTime::ZERO);
    }

    fn employ(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Moving);
        self.state = match state {
            State::OnTheSpot { painter } => start_thread(painter, self.bytes),
            already => already,
        };
    }
}

fn start_thread(mut painter: Painter, bytes: usize) -> State {
    let (orders, inbox) = sync_channel::<Order>(1);
    let (outbox, prints) = sync_channel::<Print>(1);
    let work = move || {
        // Refused only where niceness is managed from outside; the images then compete at the default.
        rustix::process::setpriority_process(None, NICENESS).ok();
        while let Ok(Order { shot, not_before, mut pixels }) = inbox.recv() {
            pace::sleep_until(not_before);
            painter.paint(shot, &mut pixels);
            if outbox.send(Print { shot, pixels }).is_err() {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("twin-render".to_owned()).spawn(work);
    // Without a thread the channels are closed and every image is NotYet: the camera is silent, which the rig reports.
    drop(spawned);
    State::Ahead { orders, prints, ordered: None, spare: Some(vec![0; bytes].into_boxed_slice()) }
}
