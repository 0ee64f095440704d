use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    api::{NodeStateStatus, Report},
    cli::Failure,
    model::NodeName,
};

/// How long the agent may take for anything.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any NodeState has.
const MAX_ANSWER: u64 = 4 << 20;

#[derive(Deserialize)]
struct State {
    metadata: Metadata,
    status: NodeStateStatus,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

/// What the agent at `address` reports of its node.
pub(super) fn fetch(address: SocketAddr) -> Result<(NodeName, Report), Failure> {
    let failed = |cause: String| {
        Failure::Failed(format!(
            "the agent at {address} gave no state: {cause}; is it running? (--admin-address names where it listens)"
        ))
    };
    let answer = get(address).map_err(|error| failed(error.to_string()))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| failed("the answer is not HTTP".to_owned()))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(failed(format!("{status}: {}", body.trim())));
    }
    let state: State = serde_json::from_str(body).map_err(|error| failed(error.to_string()))?;
    let report = Report::from_status(&state.status).map_err(|error| failed(error.to_string()))?;
    Ok((NodeName(state.metadata.name), report))
}

/// One GET, with the connection's end as the end of the answer.
fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET /state HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
