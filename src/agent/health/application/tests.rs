//! Applications that answer well, badly or not at all.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::model::{HttpMethod, Verification};

const CA: &str = include_str!("../../../../tests/tls/ca.pem");
const SAME_NAME_CA: &str = include_str!("../../../../tests/tls/same-name-ca.pem");
const OTHER_CA: &str = include_str!("../../../../tests/tls/other-ca.pem");
const VALID: &str = include_str!("../../../../tests/tls/valid.pem");
const EXPIRED: &str = include_str!("../../../../tests/tls/expired.pem");
const KEY: &str = include_str!("../../../../tests/tls/key.pem");

const SECOND: Duration = Duration::from_secs(1);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Serves each connection with `serve`, and returns the port.
async fn server<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Reads a request, and answers it.
async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, answer: &[u8]) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

/// A server with this certificate, and how it answers.
async fn tls_server(certificate: &str, reply: &'static [u8]) -> u16 {
    let acceptor = acceptor(certificate);
    server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, reply).await;
            }
        }
    })
    .await
}

fn acceptor(certificate: &str) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config).into()
}

fn http() -> HttpRequest {
    HttpRequest {
        method: HttpMethod::Get,
        path: "/".to_owned(),
        host: None,
        statuses: vec![(200, 200)],
        body: None,
    }
}

fn https(verification: Verification) -> HttpsRequest {
    HttpsRequest {
        http: http(),
        server_name: None,
        verification,
    }
}

fn by(ca: &str) -> Verification {
    Verification::ByCa(ca.into())
}

/// What a check finds out: `Ok`, or its failure in words.
async fn found(port: u16, request: ApplicationRequest) -> Result<(), String> {
    let question = Question::of(&request, &mut TlsConfigs::default()).unwrap();
    let found = ask([127, 0, 0, 1].into(), port, &question, SECOND).await;
    found.unwrap().map_err(|failure| failure.to_string())
}

async fn found_by_https(port: u16, request: HttpsRequest) -> Result<(), String> {
    found(port, ApplicationRequest::Https(Arc::new(request))).await
}

#[tokio::test]
async fn a_certificate_of_the_ca_for_the_address_or_the_name_passes() {
    let port = tls_server(VALID, OK).await;
    assert_eq!(found_by_https(port, https(by(CA))).await, Ok(()));
    let mut named = https(by(CA));
    named.http.host = Some("shop.example:8443".to_owned());
    named.http.body = Some("ok".to_owned());
    assert_eq!(found_by_https(port, named.clone()).await, Ok(()));
    named.server_name = Some("127.0.0.1".to_owned());
    assert_eq!(found_by_https(port, named.clone()).await, Ok(()));
    named.http.body = Some("well".to_owned());
    assert_eq!(
        found_by_https(port, named).await,
        Err(Failure::Body.to_string())
    );
    let both = format!("{OTHER_CA}{CA}");
    assert_eq!(found_by_https(port, https(by(&both))).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_fails_and_the_words_say_why() {
    let valid = tls_server(VALID, OK).await;
    let expired = tls_server(EXPIRED, OK).await;
    let own_ca = tls_server(CA, OK).await;
    let unsigned = "the certificate is not signed by a CA of spec.healthCheck.tls.ca";
    let mut other_name = https(by(CA));
    other_name.server_name = Some("bank.example".to_owned());
    let mut other_address = https(by(CA));
    other_address.http.host = Some("127.0.0.2".to_owned());
    for (port, request, words) in [
        (
            expired,
            https(by(CA)),
            "the certificate expired at 2021-01-01T00:00:00Z",
        ),
        (valid, https(by(OTHER_CA)), unsigned),
        (valid, https(by(SAME_NAME_CA)), unsigned),
        (valid, other_name, "the certificate is not for bank.example"),
        (valid, other_address, "the certificate is not for 127.0.0.2"),
        (own_ca, https(by(CA)), "the certificate is a CA's"),
    ] {
        let failure = found_by_https(port, request.clone()).await.unwrap_err();
        assert!(failure.starts_with(words), "{failure}");
        assert!(!failure.contains(&port.to_string()), "{failure}");
        let again = found_by_https(port, request.clone()).await.unwrap_err();
        assert_eq!(failure, again, "each time the same");
        let any = HttpsRequest {
            verification: Verification::Off,
            ..request
        };
        assert_eq!(found_by_https(port, any).await, Ok(()), "insecure");
    }
}

/// A session that could be resumed would spare the server its certificate.
#[tokio::test]
async fn each_connection_sees_the_certificate() {
    let port = tls_server(VALID, OK).await;
    let mut configs = TlsConfigs::default();
    let config = configs.of(&by(CA)).unwrap();
    for _ in 0..3 {
        let name = "shop.example".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn the_name_is_sent_to_the_server_and_an_address_is_not() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let acceptor = acceptor(VALID);
    let port = server(move |stream| {
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let session = stream.get_ref().1;
                let name = session.server_name().map(str::to_owned);
                let _ = tell.send((name, session.alpn_protocol().map(<[u8]>::to_vec)));
                answer(stream, OK).await;
            }
        }
    })
    .await;
    let mut named = https(by(CA));
    named.http.host = Some("shop.example:8443".to_owned());
    assert_eq!(found_by_https(port, named).await, Ok(()));
    assert_eq!(
        told.recv().await,
        Some((Some("shop.example".to_owned()), None))
    );
    assert_eq!(found_by_https(port, https(by(CA))).await, Ok(()));
    assert_eq!(told.recv().await, Some((None, None)));
}

#[tokio::test]
async fn what_does_not_speak_tls_or_ends_at_once_or_never_answers_fails() {
    let plain = server(|stream| answer(stream, OK)).await;
    // It answers what it takes for a request with a line of HTTP.
    let talker = server(|mut stream| async move {
        let _ = stream.write_all(OK).await;
    })
    .await;
    let closing = server(|stream| async move { drop(stream) }).await;
    let mute = server(|stream| async move {
        tokio::time::sleep(10 * SECOND).await;
        drop(stream);
    })
    .await;
    for (port, words) in [
        (plain, "no answer within 1000 ms"),
        (talker, "what the real server sent is not TLS"),
        (
            closing,
            "the connection was closed during the TLS handshake",
        ),
        (mute, "no answer within 1000 ms"),
        (closed_port().await, "the port is closed"),
    ] {
        let failure = found_by_https(port, https(by(CA))).await;
        assert_eq!(failure, Err(words.to_owned()));
    }
}

async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Sends 10 MB behind `head`, or as much as is read, and tells how much that was.
async fn flood(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    head: &'static [u8],
    tell: tokio::sync::mpsc::UnboundedSender<usize>,
) {
    let mut sent = 0;
    let _ = stream.write_all(head).await;
    while sent < 10_000_000
        && let Ok(count) = stream.write(&[b'x'; 16_000]).await
    {
        sent += count;
    }
    let _ = stream.shutdown().await;
    // What the kernel has taken, is not read yet: wait for the other side.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let _ = tell.send(sent);
}

#[tokio::test]
async fn of_what_is_sent_without_an_end_a_bounded_part_is_read() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n";
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let acceptor = acceptor(VALID);
    let inside = {
        let tell = tell.clone();
        server(move |stream| {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    flood(stream, HEAD, tell).await;
                }
            }
        })
        .await
    };
    // A record of a handshake that goes on and on: type 22, TLS 1.2, 16000 bytes.
    let handshake = server(move |stream| {
        let tell = tell.clone();
        async move { flood(stream, &[22, 3, 3, 0x3e, 0x80, 2, 0xff, 0xff, 0xff], tell).await }
    })
    .await;
    let mut request = https(by(CA));
    assert_eq!(found_by_https(inside, request.clone()).await, Ok(()));
    let sent = told.recv().await.unwrap();
    request.http.body = Some("y".to_owned());
    assert_eq!(
        found_by_https(inside, request.clone()).await,
        Err(Failure::Body.to_string())
    );
    let more = told.recv().await.unwrap();
    let failure = found_by_https(handshake, request).await.unwrap_err();
    let handshake = told.recv().await.unwrap();
    assert!(failure.contains("TLS"), "{failure}");
    for sent in [sent, more, handshake] {
        assert!(sent < 10_000_000, "{sent} bytes were taken");
    }
}

#[tokio::test]
async fn interim_answers_without_an_end_are_not_read_for_ever() {
    let port = server(|mut stream| async move {
        while stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    let failure = found(port, ApplicationRequest::Http(Arc::new(http()))).await;
    let failure = failure.unwrap_err();
    assert!(failure.starts_with("no HTTP answer"), "{failure}");
}

#[test]
fn a_configuration_is_made_once_and_forgotten_with_its_policy() {
    let mut configs = TlsConfigs::default();
    let policy = by(CA);
    let one = configs.of(&policy).unwrap();
    assert!(Arc::ptr_eq(&one, &configs.of(&by(CA)).unwrap()), "the same");
    let other = configs.of(&by(OTHER_CA)).unwrap();
    assert!(!Arc::ptr_eq(&one, &other));
    configs.forget_unused();
    assert!(
        Arc::ptr_eq(&one, &configs.of(&policy).unwrap()),
        "still used"
    );
    drop(policy);
    configs.forget_unused();
    assert!(!Arc::ptr_eq(&one, &configs.of(&by(CA)).unwrap()), "anew");
}

/// A name server that sends these messages for each query, made of it.
async fn name_server(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            for answer in answers(&query[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    port
}

/// The answer to `query` with this response code.
fn with_code(query: &[u8], code: u8) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer[3] = 0x80 | code;
    answer
}

fn dns() -> ApplicationRequest {
    ApplicationRequest::Dns("shop.example".into())
}

#[tokio::test]
async fn every_answer_of_a_name_server_passes_but_servfail() {
    for (code, result) in [
        (0, Ok(())),
        (2, Err("the answer is SERVFAIL".to_owned())),
        (3, Ok(())),
        (5, Ok(())),
    ] {
        let port = name_server(move |query| vec![with_code(query, code)]).await;
        assert_eq!(found(port, dns()).await, result, "{code}");
    }
}

#[tokio::test]
async fn messages_that_are_no_answers_are_ignored_until_one_comes() {
    let others = |query: &[u8]| {
        let mut other_id = with_code(query, 2);
        other_id[0] ^= 1;
        let mut other_name = with_code(query, 2);
        other_name[14] ^= 1;
        vec![other_id, other_name, query.to_vec(), vec![], vec![0; 2000]]
    };
    let port = name_server(move |query| [others(query), vec![with_code(query, 0)]].concat()).await;
    assert_eq!(found(port, dns()).await, Ok(()));
    let port = name_server(others).await;
    let failure = found(port, dns()).await;
    assert_eq!(failure, Err("no answer within 1000 ms".to_owned()));
}

#[tokio::test]
async fn each_query_has_a_port_and_an_id_of_its_own_and_only_the_server_can_answer_it() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut ids = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for _ in 0..8 {
        let asked = tokio::spawn(found(port, dns()));
        let mut query = [0; 512];
        let (length, from) = socket.recv_from(&mut query).await.unwrap();
        let query = &query[..length];
        ports.insert(from.port());
        ids.insert([query[0], query[1]]);
        other.send_to(&with_code(query, 2), from).await.unwrap();
        socket.send_to(&with_code(query, 0), from).await.unwrap();
        assert_eq!(asked.await.unwrap(), Ok(()));
    }
    // Chance may give the same one twice.
    assert!(ids.len() > 5 && ports.len() > 5, "{ids:?} {ports:?}");
}

#[tokio::test]
async fn a_udp_port_where_nobody_listens_is_closed() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let failure = found(port, dns()).await;
    assert_eq!(failure, Err("the port is closed".to_owned()));
}
