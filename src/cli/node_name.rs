//! Which node is meant.

use crate::model::NodeName;

use super::Failure;

/// The option `--node`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NodeArgs {
    /// Which node to look at [default: $NODE_NAME, else this machine's host name]
    // Not clap's `env`: a variable that is set in the agent's pod must not contradict other options.
    #[arg(long = "node", visible_alias = "node-name", value_name = "NAME")]
    pub node: Option<String>,
}

impl NodeArgs {
    /// The node asked for, else the pod's, else the one named like this machine.
    pub(super) fn name(&self) -> Result<NodeName, Failure> {
        let of_pod = || std::env::var("NODE_NAME").ok();
        match self.node.clone().or_else(of_pod) {
            Some(name) => Ok(NodeName(name)),
            None => host_name().map(NodeName),
        }
    }
}

/// What the kernel calls this machine; Kubernetes names nodes so by default.
pub(super) fn host_name() -> Result<String, Failure> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| {
        Failure::Usage(format!(
            "/proc/sys/kernel/hostname: {error}; say which node this is with --node NAME"
        ))
    })?;
    Ok(name.trim().to_lowercase())
}
