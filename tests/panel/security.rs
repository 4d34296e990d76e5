//! Who is turned away: one row a way to try, all refused, audited, and nothing done.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mimicd::config::PanelConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::desk::{Bench, exchange, request};

const OPERATOR: &str = "operator-token-of-the-tests-0123456789";
const VIEWER: &str = "viewer-token-of-the-tests-0123456789";
const ARM: &str = r#"{"command":"arm"}"#;
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn guarded(folder: &tempfile::TempDir) -> PanelConfig {
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    };
    PanelConfig {
        operator_token: file("operator", OPERATOR),
        viewer_token: file("viewer", VIEWER),
        ..PanelConfig::default()
    }
}

#[test]
fn the_table_of_refusals() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = Bench::with(guarded(&folder), None);
    let operator = format!("Bearer {OPERATOR}");
    let viewer = format!("Bearer {VIEWER}");
    let big = format!(r#"{{"command":"mark","text":"{}"}}"#, "x".repeat(100_000));
    let own = format!("http://{}", bench.address());
    type Row<'a> = (&'a str, &'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str, u16);
    let table: Vec<Row<'_>> = vec![
        (
            "foreign Host",
            "POST",
            "/api/v1/commands",
            vec![("host", "evil.example"), ("authorization", &operator)],
            ARM,
            403,
        ),
        ("no Host", "POST", "/api/v1/commands", vec![("host", ""), ("authorization", &operator)], ARM, 403),
        (
            "foreign Origin",
            "POST",
            "/api/v1/commands",
            vec![("origin", "http://evil.example"), ("authorization", &operator)],
            ARM,
            403,
        ),
        ("null Origin", "POST", "/api/v1/commands", vec![("origin", "null"), ("authorization", &operator)], ARM, 403),
        (
            "cross-site fetch",
            "GET",
            "/api/v1/state",
            vec![("sec-fetch-site", "cross-site"), ("authorization", &operator)],
            "",
            403,
        ),
        (
            "own name, other scheme",
            "GET",
            "/api/v1/state",
            vec![("origin", "https://127.0.0.1"), ("authorization", &operator)],
            "",
            403,
        ),
        ("no token", "POST", "/api/v1/commands", vec![], ARM, 401),
        (
            "wrong token",
            "POST",
            "/api/v1/commands",
            vec![("authorization", "Bearer nonsense-nonsense-nonsense")],
            ARM,
            401,
        ),
        ("token as a cookie", "POST", "/api/v1/commands", vec![("cookie", "mimicd_session=operator")], ARM, 401),
        ("reading without a token", "GET", "/api/v1/state", vec![], "", 401),
        ("metrics without a token", "GET", "/metrics", vec![], "", 401),
        ("a viewer arms", "POST", "/api/v1/commands", vec![("authorization", &viewer)], ARM, 403),
        ("oversized body", "POST", "/api/v1/commands", vec![("authorization", &operator)], &big, 413),
        (
            "a form, as a foreign page can send it",
            "POST",
            "/api/v1/commands",
            vec![("authorization", &operator), ("content-type", "text/plain")],
            ARM,
            415,
        ),
        ("traversal in the page's files", "GET", "/..%2f..%2fetc%2fpasswd", vec![], "", 404),
        ("traversal, plain", "GET", "/../../etc/passwd", vec![], "", 404),
        (
            "traversal in a recording's name",
            "GET",
            "/api/v1/recordings/..%2f..%2fetc%2fpasswd/report",
            vec![("authorization", &operator)],
            "",
            404,
        ),
        (
            "traversal in an export",
            "POST",
            "/api/v1/recordings/%2e%2e/export",
            vec![("authorization", &operator)],
            "",
            404,
        ),
        (
            "a subject that is a path",
            "POST",
            "/api/v1/commands",
            vec![("authorization", &operator)],
            r#"{"command":"start","subject":"../../etc"}"#,
            409,
        ),
        (
            "outputs armed without the rig's name",
            "POST",
            "/api/v1/commands",
            vec![("authorization", &operator)],
            r#"{"command":"arm_outputs","confirm":"yes"}"#,
            409,
        ),
        (
            "unknown command",
            "POST",
            "/api/v1/commands",
            vec![("authorization", &operator)],
            r#"{"command":"erase"}"#,
            400,
        ),
        (
            "unknown field",
            "POST",
            "/api/v1/commands",
            vec![("authorization", &operator)],
            r#"{"command":"start","subject":"a","path":"/"}"#,
            400,
        ),
        ("wrong method", "DELETE", "/api/v1/commands", vec![("authorization", &operator)], "", 405),
        ("own origin is served", "GET", "/api/v1/state", vec![("origin", &own), ("authorization", &operator)], "", 200),
        ("a viewer reads", "GET", "/api/v1/state", vec![("authorization", &viewer)], "", 200),
    ];
    for (name, method, path, headers, body, status) in table {
        let answer = bench.send(method, path, &headers, body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(!answer.body.contains("root:"), "{name}");
        assert!(answer.head.contains("content-security-policy") || status == 400, "{name}: {}", answer.head);
    }
    assert!(bench.calls().is_empty(), "nothing was done: {:?}", bench.calls());
    bench.wait("audit", |bench| bench.audit().contains("too_large"));
    let audit = bench.audit();
    let causes = [
        "foreign_host",
        "foreign_origin",
        "no_token",
        "\"viewer\"",
        "too_large",
        "traversal",
        "arm_outputs",
        "../../etc",
    ];
    for cause in causes {
        assert!(audit.contains(cause), "{cause} is not in the audit log:\n{audit}");
    }
    assert!(
        !audit.contains(OPERATOR)
            && !bench.send("GET", "/api/v1/events", &[("authorization", &operator)], "").body.contains("nonsense-")
    );
}

#[test]
fn a_foreign_page_gets_no_websocket() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = Bench::with(guarded(&folder), None);
    let operator = format!("Bearer {OPERATOR}");
    let upgrade = |extra: &[(&'static str, &str)]| {
        let headers: Vec<(&str, &str)> = UPGRADE.iter().copied().chain(extra.iter().copied()).collect();
        let text = request(&bench.address().to_string(), "GET", "/api/v1/live", &headers, "");
        let mut stream = TcpStream::connect(bench.address()).expect("connects");
        stream.write_all(text.as_bytes()).expect("sends");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("a status line");
        String::from_utf8_lossy(&start[9..12]).into_owned()
    };
    assert_eq!(upgrade(&[]), "401");
    assert_eq!(upgrade(&[("authorization", &operator), ("origin", "http://evil.example")]), "403");
    assert_eq!(upgrade(&[("authorization", &operator), ("host", "evil.example")]), "403");
    assert_eq!(upgrade(&[("authorization", &operator)]), "101");
}

#[test]
fn a_session_cookie_is_made_for_one_browser_and_ends() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = Bench::with(guarded(&folder), None);
    let wrong = bench.send("POST", "/api/v1/session", &[], r#"{"token":"not-the-token-not-the-token"}"#);
    assert_eq!(wrong.status, 401);
    let answer = bench.send("POST", "/api/v1/session", &[], &format!(r#"{{"token":"{VIEWER}"}}"#));
    assert_eq!((answer.status, &answer.json()["role"]), (200, &"viewer".into()));
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    assert_eq!(bench.send("GET", "/api/v1/state", &[("cookie", pair)], "").status, 200);
    assert_eq!(bench.send("POST", "/api/v1/commands", &[("cookie", pair)], ARM).status, 403);
    assert_eq!(bench.send("DELETE", "/api/v1/session", &[("cookie", pair)], "").status, 204);
    assert_eq!(bench.send("GET", "/api/v1/state", &[("cookie", pair)], "").status, 401);
}

#[test]
fn guessing_tokens_is_slowed_down() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bench = Bench::with(guarded(&folder), None);
    let statuses: Vec<u16> = (0..20)
        .map(|n| bench.send("POST", "/api/v1/session", &[], &format!(r#"{{"token":"guess-{n}"}}"#)).status)
        .collect();
    assert!(statuses.contains(&401) && statuses[15..].iter().all(|&status| status == 429), "{statuses:?}");
    let other = Bench::with(guarded(&folder), None);
    let with = |token: &str| {
        let bearer = format!("Bearer {token}");
        other.send("GET", "/api/v1/state", &[("authorization", &bearer)], "").status
    };
    assert_eq!(with(OPERATOR), 200);
    let statuses: Vec<u16> = (0..20).map(|n| with(&format!("guess-{n}-of-twenty-characters"))).collect();
    assert!(
        statuses[..8].iter().all(|&status| status == 401) && statuses[15..].iter().all(|&s| s == 429),
        "{statuses:?}"
    );
    assert_eq!(with(OPERATOR), 429, "a guesser does not learn that a guess was right");
}

#[test]
fn a_flood_of_requests_is_cut() {
    let bench = Bench::open();
    let refused = (0..1_500).filter(|_| bench.get("/healthz").status == 429).count();
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_client_that_sends_its_head_byte_by_byte_is_cut_off() {
    let bench = Bench::open();
    let mut stream = TcpStream::connect(bench.address()).expect("connects");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
    let begun = Instant::now();
    let mut byte = [0];
    loop {
        assert!(begun.elapsed() < Duration::from_secs(9), "still connected");
        if stream.write_all(b"x").is_err() {
            break;
        }
        match stream.read(&mut byte) {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "cut off by the time limit: {:?}", begun.elapsed());
    bench.wait("audit", |bench| bench.audit().contains("too_slow"));
}

#[test]
fn a_connection_that_rests_between_requests_is_no_attack() {
    let bench = Bench::open();
    let mut stream = TcpStream::connect(bench.address()).expect("connects");
    let headers = [("connection", "keep-alive")];
    stream.write_all(request(&bench.address().to_string(), "GET", "/healthz", &headers, "").as_bytes()).expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered, and closed after a while");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let silent = TcpStream::connect(bench.address()).expect("connects");
    std::thread::sleep(Duration::from_secs(7));
    drop(silent);
    assert!(!bench.audit().contains("too_slow"), "{}", bench.audit());
}

#[test]
fn a_client_whose_body_never_comes_is_cut_off() {
    let bench = Bench::open();
    let headers = [("content-length", "100"), ("content-type", "application/json")];
    let text = request(&bench.address().to_string(), "POST", "/api/v1/commands", &headers, "");
    let begun = Instant::now();
    let answer = exchange(TcpStream::connect(bench.address()).expect("connects"), &text);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!((Duration::from_secs(3)..Duration::from_secs(30)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    bench.wait("audit", |bench| bench.audit().contains("too_slow"));
}

#[test]
fn the_network_is_served_over_tls_only() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = Process::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("skipped: no openssl to make a certificate with");
        return;
    }
    let bench =
        Bench::with(PanelConfig { tls_certificate: certificate.clone(), tls_key: key, ..guarded(&folder) }, None);
    let host = format!("localhost:{}", bench.address().port());
    let operator = format!("Bearer {OPERATOR}");
    let text = request(&host, "GET", "/api/v1/state", &[("authorization", &operator)], "");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = StreamOwned::new(client, TcpStream::connect(bench.address()).expect("connects"));
    assert_eq!(exchange(stream, &text).status, 200);
    let plain = exchange(TcpStream::connect(bench.address()).expect("connects"), &text);
    assert_eq!(plain.status, 0, "plain HTTP gets no answer: {plain:?}");
}
