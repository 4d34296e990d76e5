//! Many clients, frozen clients, flooding clients: each gets the newest or is cut off; nobody waits for anybody.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, connect};

use crate::desk::Bench;

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn open(bench: &Bench) -> Socket {
    connect(format!("ws://{}/api/v1/live", bench.address())).expect("a WebSocket").0
}

fn next_numbers(socket: &mut Socket) -> serde_json::Value {
    loop {
        if let Message::Text(text) = socket.read().expect("a message") {
            let news: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            if news["spikes"].is_null() {
                return news;
            }
        }
    }
}

#[test]
fn a_page_gets_numbers_and_images() {
    let bench = Bench::open();
    let mut socket = open(&bench);
    let first = next_numbers(&mut socket);
    drawn(&mut socket);
    assert_eq!(first["standing"]["state"], "idle");
    assert_eq!(first["snapshot"]["cameras"].as_array().map(Vec::len), Some(6));
    assert_eq!(first["snapshot"]["pose"]["keypoints_m"][22][0], serde_json::Value::Null, "a missing keypoint");
    let image = loop {
        match socket.read().expect("a message") {
            Message::Binary(bytes) => break bytes,
            Message::Text(_) => drawn(&mut socket),
            _ => {}
        }
    };
    let jpeg = 2 + 4 * (4 + 5 * usize::from(image[1]));
    assert!(image[0] < 6 && image[jpeg..jpeg + 2] == [0xff, 0xd8], "camera, marks, JPEG: {:?}", &image[..3]);
    drawn(&mut socket);
    let second = next_numbers(&mut socket);
    assert!(second["snapshot"]["sequence"].as_u64() >= first["snapshot"]["sequence"].as_u64());
}

#[test]
fn nothing_is_made_when_nobody_looks() {
    let bench = Bench::open();
    let wanted = |bench: &Bench| bench.levers.previews_wanted.load(std::sync::atomic::Ordering::Relaxed);
    let mut socket = open(&bench);
    bench.wait("previews wanted", wanted);
    socket.close(None).expect("closes");
    drop(socket);
    bench.wait("previews no longer wanted", |bench| !wanted(bench));
}

/// Says that the turn is drawn, so that the next may come.
fn drawn(socket: &mut Socket) {
    socket.send(Message::Text("drawn".into())).expect("sent");
}

#[test]
fn a_page_that_has_not_drawn_is_sent_nothing_and_then_the_newest() {
    let bench = Bench::open();
    let mut slow = open(&bench);
    let mut quick = open(&bench);
    let first = next_numbers(&mut slow);
    next_numbers(&mut quick);
    let sequence = |numbers: &serde_json::Value| numbers["snapshot"]["sequence"].as_u64().expect("a number");
    let mut others = sequence(&first);
    let mut turns = 0;
    while turns < 20 || others <= sequence(&first) {
        drawn(&mut quick);
        others = sequence(&next_numbers(&mut quick));
        turns += 1;
    }
    drawn(&mut slow);
    let next = sequence(&next_numbers(&mut slow));
    assert!(next >= others, "the newest: {next}, while another page has seen {others}");
}

#[test]
fn a_frozen_client_keeps_nobody_waiting_and_is_cut_off() {
    let bench = Bench::open();
    let frozen = open(&bench); // never reads, so it answers no ping either
    let mut reader = open(&bench);
    let begun = Instant::now();
    let mut count = 0;
    let mut clients = 2.0;
    while begun.elapsed() < Duration::from_secs(60) && clients > 1.5 {
        next_numbers(&mut reader);
        drawn(&mut reader);
        count += 1;
        if count % 20 == 0 {
            let metrics = bench.get("/metrics").body;
            let line = metrics.lines().find(|line| line.starts_with("mimicd_panel_clients ")).expect("a gauge");
            clients = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        }
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    assert!(rate > 5.0, "the other page still gets its numbers: {rate:.1}/s");
    assert!(clients < 1.5, "the frozen client is cut off within {:?}", begun.elapsed());
    drop(frozen);
}

#[test]
fn a_client_that_floods_is_cut_off() {
    let bench = Bench::open();
    let mut socket = open(&bench);
    let until = Instant::now() + Duration::from_secs(10);
    let ten = |socket: &mut Socket| (0..10).all(|_| socket.send(Message::Text("x".into())).is_ok());
    while ten(&mut socket) && socket.read().is_ok() {
        assert!(Instant::now() < until, "still connected");
    }
}

#[test]
fn a_hundred_pages_are_served() {
    let bench = Bench::open();
    let mut sockets: Vec<Socket> = (0..100).map(|_| open(&bench)).collect();
    for socket in &mut sockets {
        next_numbers(socket);
    }
    let begun = Instant::now();
    let answer = bench.command(r#"{"command":"arm"}"#);
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "commands stay quick: {:?}", begun.elapsed());
}
