//! The command line: one file per subcommand.

mod agent;
mod check;
mod cleanup;
mod connect;
mod controller;
mod crd;
mod drain;
mod failover;
mod kubernetes;
mod liveness;
mod log;
mod node_name;
mod observation;
mod observe;
mod output;
mod plan;
mod run_dir;
mod snapshot;
mod status;
mod undo;

pub use observation::{BadObservation, Observation};

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::output::OutputError;
use crate::kernel::KernelError;

/// Wrong command line (`EX_USAGE` of sysexits.h). Not clap's 2, because `plan` uses that.
const USAGE: u8 = 64;
/// The subcommand could not do its work, or not all of it.
const FAILED: u8 = 1;

/// Where an agent's admin endpoint listens by default; the chart's port.
const DEFAULT_AGENT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// The same for a controller, which may run on an agent's host.
const DEFAULT_CONTROLLER_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8091);

/// LVS direct routing, declared and reconciled.
#[derive(Debug, Parser)]
#[command(
    name = "directway",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Exit status: 0 done; 1 failed, or check found a FAIL; 2 plan: something would be
refused; 64 wrong command line. Each subcommand's --help has examples."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent of one node
    Agent(agent::Args),
    /// Run the controller, which sums the agents' reports up in each VirtualService's status
    Controller(controller::Args),
    /// Print the custom resource definitions as YAML
    Crd(crd::Args),
    /// Print what would change, on this node or, with -f, on every node of the cluster
    Plan(plan::Args),
    /// Print how every VirtualService stands, and why a real server gets no traffic
    Status(status::Args),
    /// Move a VIP to another director, and wait until it is there
    Failover(failover::Args),
    /// Take a node out of use as a real server: no new connections, open ones end
    Drain(drain::DrainArgs),
    /// Use a drained node again
    Undrain(drain::UndrainArgs),
    /// Print what this node's kernel has, ours and foreign
    Observe(observe::Args),
    /// Look for what would keep directway from working on this node, with fixes
    Check(check::Args),
    /// Connect to every VIP from here, as a client would
    Connect(connect::Args),
    /// Remove exactly what is directway's from this node, and restore sysctls
    Cleanup(cleanup::Args),
    /// Have every agent of a cluster undo its node, and wait until all have
    Undo(undo::Args),
}

/// Why a subcommand did not do its work. Printed as one line that says what to change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The options contradict each other, or a value cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The work could not be done.
    #[error("{0}")]
    Failed(String),
    /// A query to the kernel failed.
    #[error(
        "{0}; directway needs CAP_NET_ADMIN (and CAP_NET_RAW for the wire): run it as root on the node"
    )]
    Kernel(#[from] KernelError),
    /// The result could not be printed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Failed(_) | Self::Kernel(_) | Self::Output(_) => FAILED,
        }
    }
}

/// What a subcommand ends with: its exit status.
type CommandResult = Result<ExitCode, Failure>;

/// Runs the command line `args`, with the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = Cli::command();
    if is_plugin(args.first()) {
        command = command.bin_name("kubectl directway");
    }
    let parsed = command
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // clap returns --help and --version as errors too, for standard output.
            let code = if error.use_stderr() { USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(FAILED),
            };
        }
    };
    let outcome = match cli.command {
        Command::Agent(args) => agent::run(&args),
        Command::Controller(args) => controller::run(&args),
        Command::Crd(args) => crd::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Failover(args) => failover::run(&args),
        Command::Drain(args) => drain::drain(&args),
        Command::Undrain(args) => drain::undrain(&args),
        Command::Check(args) => check::run(&args),
        Command::Observe(args) => observe::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::Cleanup(args) => cleanup::run(&args),
        Command::Undo(args) => undo::run(&args),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("directway: {failure}");
        ExitCode::from(failure.exit_code())
    })
}

/// kubectl runs its plugins by a file name: `kubectl directway` is `kubectl-directway`.
fn is_plugin(program: Option<&OsString>) -> bool {
    program
        .and_then(|program| Path::new(program).file_name())
        .is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_the_plugin_s_name_makes_a_plugin() {
        for (program, plugin) in [
            ("/usr/bin/kubectl-directway", true),
            ("kubectl-directway", true),
            ("/opt/kubectl-x/directway", false),
        ] {
            assert_eq!(is_plugin(Some(&program.into())), plugin, "{program}");
        }
    }
}
