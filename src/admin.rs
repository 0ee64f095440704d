//! The admin endpoint: liveness, readiness with what is missing, metrics and state. HTTP/1.1, GET and HEAD only.

use std::{
    collections::VecDeque, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the endpoint serves. Calls are short and never block.
pub trait Admin: Send + Sync + 'static {
    /// Why the process cannot work at all and should be restarted; `None` if it can.
    fn unhealthy(&self) -> Option<String>;
    /// What the process lacks to do its work, one line each; empty = ready.
    fn missing(&self) -> Vec<String>;
    /// Metrics in the OpenMetrics text format.
    fn metrics(&self) -> String;
    /// The state as JSON; `None` while there is none.
    fn state(&self) -> Option<String>;
}

/// How long a client may take for its request line and headers.
const HEADERS: Duration = Duration::from_secs(5);
/// How long a connection may last, with its request and the response.
const CONNECTION: Duration = Duration::from_secs(15);
/// How many connections there may be at once. One more ends the oldest, so that connections that somebody holds open
/// keep nobody out.
const CONNECTIONS: usize = 16;
/// How soon an address in use is tried again: in a rolling update the old process may still have it.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until dropped. Fails if it cannot listen on the address; an address in use is tried again until it is free.
pub async fn serve(address: SocketAddr, admin: Arc<dyn Admin>) -> io::Result<Infallible> {
    let listener = listen(address).await?;
    tracing::info!(%address, "admin endpoint is open: /healthz /readyz /metrics /state");
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or the client went away: the endpoint goes on after both.
                tracing::warn!(%error, "admin endpoint: a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(converse(stream, Arc::clone(&admin))));
    }
}

/// Answers one request. The body of a request is not read.
async fn converse(stream: TcpStream, admin: Arc<dyn Admin>) {
    let service = service_fn(|request| {
        let response = answer(&request, admin.as_ref());
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin endpoint: a connection broke"),
        Err(_) => tracing::debug!("admin endpoint: a connection lasted too long"),
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !told {
                    tracing::warn!(%address, "admin endpoint: the address is in use; trying again until it is free");
                    told = true;
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("--admin-address {address}: {error}"),
                ));
            }
        }
    }
}

fn answer(request: &Request<Incoming>, admin: &dyn Admin) -> Response<Full<Bytes>> {
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
    }
    match request.uri().path() {
        "/healthz" => match admin.unhealthy() {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(why) => text(StatusCode::INTERNAL_SERVER_ERROR, why + "\n"),
        },
        "/readyz" => {
            let missing = admin.missing();
            if missing.is_empty() {
                text(StatusCode::OK, "ok\n".to_owned())
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
            }
        }
        "/metrics" => typed(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            admin.metrics(),
        ),
        "/state" => match admin.state() {
            Some(state) => typed(StatusCode::OK, "application/json", state),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no pass has been completed yet; /readyz says what is missing\n".to_owned(),
            ),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz /readyz /metrics /state\n".to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[derive(Default)]
    struct Fake {
        missing: Mutex<Vec<String>>,
    }

    impl Admin for Fake {
        fn unhealthy(&self) -> Option<String> {
            None
        }

        fn missing(&self) -> Vec<String> {
            self.missing.lock().unwrap().clone()
        }

        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }

        fn state(&self) -> Option<String> {
            None
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readyz_names_what_is_missing() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        let fake = Arc::new(Fake::default());
        *fake.missing.lock().unwrap() = vec!["nodes: not synced".to_owned()];
        let server = tokio::spawn(serve(address, fake.clone()));
        // The address is in use at first, as in a rolling update.
        tokio::task::yield_now().await;
        drop(free);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(!server.is_finished(), "the endpoint gave up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("nodes: not synced\n"),
            "{answer}"
        );
        fake.missing.lock().unwrap().clear();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.contains("openmetrics"));
        assert!(get(address, "/state").await.starts_with("HTTP/1.1 503"));
        assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }

    #[tokio::test]
    async fn connections_that_somebody_holds_open_keep_nobody_out() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let server = tokio::spawn(serve(address, Arc::new(Fake::default())));
        let mut held = Vec::new();
        while held.len() < CONNECTIONS * 3 {
            match TcpStream::connect(address).await {
                Ok(mut stream) => {
                    stream
                        .write_all(b"GET /healthz HTTP/1.1\r\n")
                        .await
                        .unwrap();
                    held.push(stream);
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        // The first ones were ended for later ones: without an answer.
        let mut rest = Vec::new();
        let ended = held[0].read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
        server.abort();
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_dropped() {
        struct Endless;
        impl Admin for Endless {
            fn unhealthy(&self) -> Option<String> {
                None
            }
            fn missing(&self) -> Vec<String> {
                Vec::new()
            }
            fn metrics(&self) -> String {
                "x".repeat(64 << 20)
            }
            fn state(&self) -> Option<String> {
                None
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        tokio::time::pause();
        // Nothing but the deadline ends it.
        converse(stream, Arc::new(Endless)).await;
    }
}
