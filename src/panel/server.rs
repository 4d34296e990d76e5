//! Sockets: accept, TLS, time and connection limits. HTTP/1.1 only; everything above is the router.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::PanelError;
use super::gate::Gate;

/// A request's head must be there within this time (a client that sends it byte by byte is cut off).
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// A TLS handshake must be done within this time.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest request head.
const HEAD_BYTES_MAX: usize = 16 * 1_024;
/// Pause after the system refused a connection (usually: no file handles left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The TLS side of the server: certificate chain and key, both PEM.
///
/// # Errors
/// Which file is missing or wrong, and how.
pub(super) fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, PanelError> {
    let bad = |path: &Path, reason: String| PanelError::Tls { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(certificate, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| bad(certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts until `end` says so. More than `clients_max` connections wait in the system's own queue.
pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    clients_max: usize,
    gate: Arc<Gate>,
    mut end: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(clients_max));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.changed() => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, tls, gate) = (router.clone(), tls.clone(), gate.clone());
        tokio::spawn(async move {
            let begun = Arc::new(AtomicBool::new(false));
            // A client's other mistakes (bad TLS, half requests) are not events of the rig.
            let ended = converse(stream, peer, router, tls, &begun).await;
            let timed_out = ended.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
            // A connection that rests between requests ends in the same way.
            if timed_out && begun.load(Ordering::Relaxed) {
                let message = "the head of a request took too long";
                gate.refuse(StatusCode::REQUEST_TIMEOUT, "too_slow", message, peer.ip(), "connection");
            }
            drop(place);
        });
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    begun: &Arc<AtomicBool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream, peer, router, begun).await,
        Some(tls) => {
            let stream = timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await??;
            serve(stream, peer, router, begun).await
        }
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, router: Router, begun: &Arc<AtomicBool>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let served = begun.clone();
    let router =
        router.layer(axum::Extension(ConnectInfo(peer))).layer(from_fn(move |request: Request, next: Next| {
            let served = served.clone();
            async move {
                let response = next.run(request).await;
                served.store(false, Ordering::Relaxed);
                response
            }
        }));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Heard { stream, begun: begun.clone() }), TowerToHyperService::new(router))
        .with_upgrades()
        .await
        .map_err(|error| {
            if error.is_timeout() { io::Error::new(io::ErrorKind::TimedOut, error) } else { io::Error::other(error) }
        })
}

/// A stream that notes whether anything has come since the last request was answered.
struct Heard<S> {
    stream: S,
    begun: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.begun.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
