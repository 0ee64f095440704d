use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::{
    api::{NodeStateStatus, Report},
    cli::{Failure, kubernetes::block_on},
    http,
    model::NodeName,
};

/// How long the agent may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// In bytes: more than any NodeState has.
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
    let answer = block_on(http::get(address, "/state", MAX_ANSWER, TIMEOUT))?;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    if !answer.is_ok() {
        return Err(failed(format!("{}: {}", answer.status, answer.body.trim())));
    }
    let state: State =
        serde_json::from_str(&answer.body).map_err(|error| failed(error.to_string()))?;
    let report = Report::from_status(&state.status).map_err(|error| failed(error.to_string()))?;
    Ok((NodeName(state.metadata.name), report))
}
