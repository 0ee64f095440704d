//! Checks of applications: a TCP connection, an HTTP request.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    health::Failure,
    model::{ApplicationRequest, HttpRequest},
};

/// How much of an answer's head is read at most, in bytes.
const MOST_HEAD: usize = 16 * 1024;
/// How much of what an application says by itself is read before the connection is closed, in bytes.
const MOST_GREETING: usize = 4096;

/// Asks the application at `address`; `None` if that could not be done, for a reason of this node's own.
pub async fn ask(
    address: IpAddr,
    port: u16,
    request: &ApplicationRequest,
    within: Duration,
) -> Option<Result<(), Failure>> {
    let at = SocketAddr::new(address, port);
    let talk = async {
        let stream = match TcpStream::connect(at).await {
            Ok(stream) => stream,
            Err(error) => return failure(&error).map(Err),
        };
        match request {
            ApplicationRequest::Tcp => {
                close(stream).await;
                Some(Ok(()))
            }
            ApplicationRequest::Http(http) => Some(exchange(stream, at, http).await),
        }
    };
    let ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    timeout(within, talk)
        .await
        .unwrap_or(Some(Err(Failure::NoAnswer(ms))))
}

/// What a failed connection says of the real server; `None` if it is about this node.
fn failure(error: &io::Error) -> Option<Failure> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Failure::Closed),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::TimedOut => Some(Failure::Unreachable(error.to_string())),
        _ => {
            tracing::debug!(%error, "a health check could not be made");
            None
        }
    }
}

/// Ends a connection as a client does that has nothing to say: what the application said by itself is read first, because
/// closing with unread data sends an RST (RFC 9293 3.6.1), which some applications log as an error.
async fn close(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut greeting = [0_u8; MOST_GREETING];
    let mut read = 0;
    let patience = Duration::from_millis(100);
    while read < MOST_GREETING
        && let Ok(Ok(count @ 1..)) = timeout(patience, stream.read(&mut greeting)).await
    {
        read += count;
    }
}

async fn exchange(
    stream: TcpStream,
    at: SocketAddr,
    http: &Arc<HttpRequest>,
) -> Result<(), Failure> {
    let garbled = |error: hyper::Error| Failure::Garbled(format!("no HTTP answer: {error}"));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(garbled)?;
    let host = http.host.clone().unwrap_or_else(|| at.to_string());
    let request = Request::builder()
        .method(http.method.name())
        .uri(&http.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("directway/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Garbled(error.to_string()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(garbled)?;
        let status = response.status().as_u16();
        if !http.accepts(status) {
            return Err(Failure::Status(status));
        }
        match &http.body {
            None => Ok(()),
            Some(expected) => contains(response, expected).await,
        }
    };
    tokio::select! {
        result = talk => result,
        // It ends before the answer only if it fails; the answer's error says how.
        Err(error) = connection => Err(garbled(error)),
    }
}

/// Whether the beginning of the body has `expected`.
async fn contains(response: Response<Incoming>, expected: &str) -> Result<(), Failure> {
    let mut body = response.into_body();
    let mut read: Vec<u8> = Vec::new();
    while read.len() < HttpRequest::MAX_BODY {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame =
            frame.map_err(|error| Failure::Garbled(format!("the body was cut: {error}")))?;
        if let Some(data) = frame.data_ref() {
            let room = HttpRequest::MAX_BODY - read.len();
            read.extend(data.iter().take(room));
        }
    }
    let mut windows = read.windows(expected.len().max(1));
    let found = windows.any(|window| window == expected.as_bytes());
    if found { Ok(()) } else { Err(Failure::Body) }
}
