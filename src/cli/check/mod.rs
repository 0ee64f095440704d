//! `directway check`: the preflight. Facts are gathered at the rim; what they mean is a pure function.

mod facts;
mod findings;
mod gather;
mod place;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, process::ExitCode};

use serde::Serialize;

use crate::agent::SourceConfig;

use super::{
    FAILED, Outcome,
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

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    /// As it should be.
    Pass,
    /// It works, with a trap or a limit.
    Warn,
    /// It cannot work.
    Fail,
}

/// One line of the preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at, in one word.
    check: &'static str,
    /// What was found.
    found: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    fix: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    let facts = gather::gather(args)?;
    let findings = findings::findings(&facts);
    args.output.output.print(&findings, || text(&findings))?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

fn text(findings: &[Finding]) -> String {
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
