//! Checks of applications: a TCP connection, an HTTP request, one inside TLS, a DNS query.

mod bounded;
mod dns;
mod http;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    health::Failure,
    model::{ApplicationRequest, HttpRequest, HttpsRequest},
};

use self::bounded::Bounded;

pub use self::tls::TlsConfigs;

/// How much of what an application says by itself is read before the connection is closed, in bytes.
const MOST_GREETING: usize = 4096;

/// A question to an application, with what it takes to ask it.
#[derive(Debug)]
pub enum Question {
    Tcp,
    Http(Arc<HttpRequest>),
    Https(Arc<HttpsRequest>, Arc<ClientConfig>),
    Dns(Arc<str>),
}

impl Question {
    /// What `request` asks. The error is one of this node.
    pub fn of(request: &ApplicationRequest, configs: &mut TlsConfigs) -> io::Result<Self> {
        Ok(match request {
            ApplicationRequest::Tcp => Self::Tcp,
            ApplicationRequest::Http(http) => Self::Http(Arc::clone(http)),
            ApplicationRequest::Https(https) => {
                let config = configs.of(&https.verification)?;
                Self::Https(Arc::clone(https), config)
            }
            ApplicationRequest::Dns(name) => Self::Dns(Arc::clone(name)),
        })
    }
}

/// Asks the application at `address`; `None` if that could not be done, for a reason of this node's own.
pub async fn ask(
    address: IpAddr,
    port: u16,
    question: &Question,
    within: Duration,
) -> Option<Result<(), Failure>> {
    let at = SocketAddr::new(address, port);
    let result = match timeout(within, exchange(at, question)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(failure(&error)?),
        Err(_) => Err(Failure::NoAnswer(
            u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
        )),
    };
    Some(result)
}

/// Asks, for as long as it takes. An error is one of the way there, or of this node.
async fn exchange(at: SocketAddr, question: &Question) -> io::Result<Result<(), Failure>> {
    Ok(match question {
        Question::Tcp => {
            close(TcpStream::connect(at).await?).await;
            Ok(())
        }
        Question::Http(http) => http::exchange(Bounded::connect(at).await?, at, http).await,
        Question::Https(https, config) => {
            tls::exchange(Bounded::connect(at).await?, at, https, config).await
        }
        Question::Dns(name) => dns::exchange(at, name).await?,
    })
}

/// What this error says of the real server; `None` if it is about this node.
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
