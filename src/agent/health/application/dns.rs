//! DNS queries.

use std::{
    future,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::UdpSocket;

use crate::health::{DnsQuery, Failure, SERVFAIL};

/// What is read of an answer, in bytes: its header and its question, which have 271 at most.
const MOST_ANSWER: usize = 512;
/// How many messages are read that are no answers to the query.
const MOST_OTHERS: usize = 1000;

/// Asks for the addresses of `name`. Whatever the answer is, somebody gives it, unless it says that the server has failed.
pub async fn exchange(at: SocketAddr, name: &str) -> io::Result<Result<(), Failure>> {
    let own = match at {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // A new socket for each query: its port and the id are what a host has to guess that wants to answer for the server.
    // A connected socket takes messages from there only, and is told if the port is closed.
    let socket = UdpSocket::bind(own).await?;
    socket.connect(at).await?;
    let [.., a, b] = RandomState::new().hash_one(at).to_be_bytes();
    let query = DnsQuery::new(u16::from_be_bytes([a, b]), name)
        .ok_or_else(|| io::Error::other("the name is not a domain's"))?;
    socket.send(query.bytes()).await?;
    let mut message = [0; MOST_ANSWER];
    for _ in 0..MOST_OTHERS {
        let length = socket.recv(&mut message).await?;
        match message.get(..length).and_then(|it| query.code(it)) {
            Some(SERVFAIL) => return Ok(Err(Failure::ServerFailure)),
            Some(_) => return Ok(Ok(())),
            // Somebody else may have sent it. The answer can still come.
            None => {}
        }
    }
    future::pending().await
}
