//! `directway plan`: what agents would do, without doing it.

mod cluster;
mod document;
mod local;
mod world;

use std::{path::PathBuf, process::ExitCode};

use super::{
    CommandResult, Failure, kubernetes::KubeArgs, liveness::LeaseArgs, node_name::NodeArgs,
    output::OutputArgs, run_dir::RunDirArgs, snapshot::SourceArgs,
};

/// The exit status if something would be refused.
const REFUSED: u8 = 2;

/// Options of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  What the agent of this node would do now, in a cluster and on a plain host:
    directway plan
    directway plan --source dir:/etc/directway
  What applying or deleting manifests would change on every node of a cluster:
    directway plan -f web.yaml
    kustomize build . | directway plan -f -
    directway plan -f web.yaml --delete
  The plan for any node, from anywhere, without privileges:
    directway plan --node node-a --source dir:manifests --observed node-a.json
  where node-a.json is what `directway observe -o json` printed on node-a.

With -f, every agent's decisions are run on what the agents reported, step by
step until nothing changes: what one step does, the next one's agents have read
in each other's reports. Nothing is sent to the API server but reads.

Lines are commands to type, but `proto 215` (directway's mark) needs iproute2
6.4 or newer: with an older one leave it out, and the entry is not directway's.

Exit status: 0 all of it would be served; 2 something would be refused;
1 failed; 64 wrong command line.")]
pub struct Args {
    /// Manifests to be applied; - reads standard input. Needs a cluster
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["source", "node", "observed"])]
    filename: Option<PathBuf>,
    /// Plan for deleting what is in FILE
    #[arg(long, requires = "filename")]
    delete: bool,
    /// Plan for what `directway observe -o json` printed on the node (- = standard input), not for this kernel
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    leases: LeaseArgs,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let document = match &args.filename {
        Some(file) => cluster::plan(args, file)?,
        None => local::plan(args)?,
    };
    args.output.output.print(&document, || document.text())?;
    Ok(if document.refusals.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REFUSED)
    })
}

/// Reads a file, or standard input for `-`.
fn read(option: &str, path: &std::path::Path) -> Result<String, Failure> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::Usage(format!("{option} {}: {error}", path.display())))
}
