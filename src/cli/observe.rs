//! `directway observe`: what this node's kernel has, marking ours and foreign.

use std::process::ExitCode;

use crate::kernel::{Kernel, linux::Linux};

use super::{CommandResult, observation, output::OutputArgs, run_dir::RunDirArgs};

/// Options of `observe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  What this node has: VIPs, host routes, ARP settings, IPVS services
    directway observe
  To plan for this node from anywhere (directway plan --observed):
    directway observe -o json > node-a.json

QUIET says whether an interface keeps silent about addresses of other devices;
ARP_IGNORE and ARP_ANNOUNCE are shown as own/effective. OWNER says whether an
entry is directway's: by protocol number 215, or by the ledger in --run-dir.")]
pub struct Args {
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let observed = Linux::open()?.observe()?;
    let ledger = args.run_dir.ledger(&observed)?;
    let document = observation::Observation::new(&observed, &ledger);
    let format = args.output.output;
    format.print(&document, || observation::text(&document))?;
    Ok(ExitCode::SUCCESS)
}
