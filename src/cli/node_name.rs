//! Which node is meant.

use crate::model::NodeName;

use super::Failure;

/// The option `--node`.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// Which node to look at [default: this machine's host name]
    #[arg(
        long = "node",
        visible_alias = "node-name",
        env = "NODE_NAME",
        value_name = "NAME"
    )]
    pub node: Option<String>,
}

impl NodeArgs {
    /// The node asked for, else the one named like this machine.
    pub(super) fn name(&self) -> Result<NodeName, Failure> {
        match &self.node {
            Some(name) => Ok(NodeName(name.clone())),
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
