//! HTTP requests.

use std::{net::SocketAddr, pin::pin};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls;
use crate::{health::Failure, model::HttpRequest};

/// How much of an answer's head is read at most, in bytes.
const MOST_HEAD: usize = 16 * 1024;

/// Sends the request, and compares the answer. `at` is what the Host header says if nothing else was chosen.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    at: SocketAddr,
    http: &HttpRequest,
) -> Result<(), Failure> {
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
    let mut talk = pin!(talk);
    tokio::select! {
        result = &mut talk => result,
        // The whole answer may have come before the end; if it has not, the answer's error says why.
        _ = connection => talk.await,
    }
}

/// What an exchange that `error` ended says of the real server.
fn garbled(error: hyper::Error) -> Failure {
    // A server may refuse a client after the handshake only, such as one without a certificate (RFC 8446 4.4.2.4).
    tls::failure_within(&error)
        .unwrap_or_else(|| Failure::Garbled(format!("no HTTP answer: {error}")))
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
