//! `directway check`: the preflight. `gather` collects facts, and `findings` is a pure function of them.

mod facts;
mod finding;
mod findings;
mod gather;
mod location;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, process::ExitCode};

use crate::cluster::SourceConfig;

use self::finding::{CheckResult, Level};
use super::{
    CommandResult, FAILED,
    kubernetes::KubeArgs,
    output::{OutputArgs, Table},
    run_dir::RunDirArgs,
};

/// Options of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  What this node lacks for directway's work:
    directway check
  Which NIC would carry a VIP, and does anybody answer for it?
    directway check --vip 192.168.188.120
  The same of a node of a cluster, in its agent's pod:
    kubectl -n directway-system exec daemonset/directway-agent -- \\
      /directway check --vip 192.168.188.120
  The VIPs and schedulers of manifests:
    directway check --source dir:/etc/directway

Exit status: 0 nothing FAILs; 1 something does; 64 wrong command line.")]
pub struct Args {
    /// A VIP to be served here; may be repeated
    #[arg(long = "vip", value_name = "ADDRESS")]
    vips: Vec<IpAddr>,
    /// Check VIPs and schedulers of its VirtualServices too: kubernetes or dir:PATH
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceConfig>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let facts = gather::gather(&args.vips, args.source.as_ref(), &args.kube, &args.run_dir)?;
    let findings = findings::findings(&facts);
    args.output.output.print(&findings, || text(&findings))?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

fn text(findings: &[CheckResult]) -> String {
    let mut table = Table::default();
    for finding in findings {
        let level = match finding.level {
            Level::Pass => "PASS",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        table.row([level, finding.check, &finding.found]);
        if !finding.fix.is_empty() {
            table.row(["", "", &format!("fix: {}", finding.fix)]);
        }
    }
    table.render()
}
