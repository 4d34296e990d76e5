//! What the tests share: a panel on a fake rig, and HTTP by hand, so that any header can be forged.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimicd::config::PanelConfig;
use mimicd::panel::{Desk, Library, Panel};
use mimicd::supervisor::{Shutdown, Supervisor, SupervisorOptions, watchdog::Pulse};
use serde_json::Value;

use crate::fake_rig::{Levers, fake_rig};

/// A running daemon, less the pipeline.
pub struct Bench {
    pub panel: Option<Panel>,
    pub desk: Arc<Desk>,
    pub levers: Arc<Levers>,
    pub shutdown: Shutdown,
    supervisor: Option<JoinHandle<()>>,
}

/// An answer: status, head and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Bench {
    pub fn open() -> Self {
        Self::with(PanelConfig::default(), None)
    }

    pub fn with(config: PanelConfig, state_folder: Option<&Path>) -> Self {
        Self::with_levers(config, state_folder, |_| {})
    }

    /// With recordings under `library`.
    pub fn over(library: &Path) -> Self {
        Self::made(PanelConfig::default(), None, library, |_| {})
    }

    pub fn with_levers(config: PanelConfig, state_folder: Option<&Path>, prepare: impl FnOnce(&Levers)) -> Self {
        Self::made(config, state_folder, Path::new("no/recordings"), prepare)
    }

    fn made(config: PanelConfig, state_folder: Option<&Path>, library: &Path, prepare: impl FnOnce(&Levers)) -> Self {
        let config = PanelConfig { ip_port: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let (rig, view, levers) = fake_rig();
        prepare(&levers);
        let (desk, orders) = Desk::new();
        let panel = Panel::open(&config, view.clone(), desk.clone(), Library::new(library.to_owned()))
            .expect("the panel opens");
        let shutdown = Shutdown::default();
        let options = SupervisorOptions { rig_name: "demo-rig".into(), state_folder: state_folder.map(Path::to_owned) };
        let supervisor = Supervisor::new(rig, view, desk.clone(), orders, options, Arc::new(Pulse::default()));
        let flag = shutdown.clone();
        let thread = std::thread::Builder::new().name("supervisor".to_owned());
        let thread = thread.spawn(move || supervisor.run(&flag)).expect("the system gives a thread");
        Self { panel: Some(panel), desk, levers, shutdown, supervisor: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.panel.as_ref().expect("open").address()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn command(&self, body: &str) -> Answer {
        self.send("POST", "/api/v1/commands", &[], body)
    }

    /// A request with the right Host and JSON content, less what `headers` replace (an empty value leaves it out).
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let text = request(&self.address().to_string(), method, path, headers, body);
        exchange(TcpStream::connect(self.address()).expect("connects"), &text)
    }

    /// Waits until `done`, at most 5 s.
    pub fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.wait_for(5, what, done);
    }

    /// Waits until `done`, at most 20 s.
    pub fn wait_long(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.wait_for(20, what, done);
    }

    fn wait_for(&self, seconds: u64, what: &str, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while !done(self) {
            assert!(Instant::now() < until, "not within {seconds} s: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn calls(&self) -> Vec<String> {
        self.levers.calls.lock().expect("lock").clone()
    }

    pub fn audit(&self) -> String {
        self.levers.audit.lock().expect("lock").join("\n")
    }

    /// Ends the supervisor and waits for it, as the daemon does.
    pub fn end(&mut self) {
        self.shutdown.request();
        if let Some(thread) = self.supervisor.take() {
            thread.join().expect("the supervisor ends");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let length = body.len().to_string();
    let mut all = vec![("host", host), ("content-length", length.as_str()), ("connection", "close")];
    if !body.is_empty() {
        all.push(("content-type", "application/json"));
    }
    all.retain(|(name, _)| !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}")
}

/// Sends `text` and reads until the connection ends.
pub fn exchange(mut stream: impl Read + Write, text: &str) -> Answer {
    // A refused body may be met with a closed connection while it is still being sent.
    let _ = stream.write_all(text.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
