//! The node that a subcommand is about.

use crate::model::NodeName;

use super::Failure;

/// The option `--node`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NodeArgs {
    /// Which node to look at [default: $NODE_NAME, else this machine's host name]
    // Not clap's `env`, because a variable that is set in the agent's pod would conflict with other options.
    #[arg(long = "node", visible_alias = "node-name", value_name = "NAME")]
    pub node: Option<String>,
}

impl NodeArgs {
    /// The node of the option, else of $NODE_NAME, else the one that is named like this machine.
    pub(super) fn name(&self) -> Result<NodeName, Failure> {
        let of_pod = || std::env::var("NODE_NAME").ok();
        match self.node.clone().or_else(of_pod) {
            Some(name) => Ok(NodeName(name)),
            None => host_name().map(NodeName),
        }
    }
}

/// The kernel's host name in lower case: the name of a node in Kubernetes by default.
pub(super) fn host_name() -> Result<String, Failure> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| {
        Failure::Usage(format!(
            "/proc/sys/kernel/hostname: {error}; say which node this is with --node NAME"
        ))
    })?;
    Ok(name.trim().to_lowercase())
}
