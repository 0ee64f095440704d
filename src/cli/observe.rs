//! `directway observe`: what this node's kernel has, marking ours and foreign.

use std::process::ExitCode;

use crate::kernel::{Kernel, linux::Linux};

use super::{Outcome, observation, output::OutputArgs, run_dir::RunDirArgs};

/// Options of `observe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  directway observe                       what this node has: VIPs, ARP settings, IPVS services
  directway observe -o json > node-a.json
  directway plan --node node-a --source dir:manifests --observed node-a.json
                                          plan for that node from anywhere, without privileges

QUIET says whether an interface keeps silent about addresses of other devices (arp_ignore and arp_announce, shown as
own/effective). OWNER says whether an entry is directway's: by protocol number 215, or by the ledger in --run-dir.")]
pub struct Args {
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Outcome {
    let observed = Linux::open()?.observe()?;
    let ledger = args.run_dir.ledger(&observed)?;
    let document = observation::Observation::new(&observed, &ledger);
    let format = args.output.output;
    format.print(&document, || observation::text(&document))?;
    Ok(ExitCode::SUCCESS)
}
