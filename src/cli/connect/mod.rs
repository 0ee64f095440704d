//! `directway connect`: connects to every VIP from here, as a client would.

mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use self::targets::{Target, targets};
use super::{
    CommandResult, FAILED, Failure,
    kubernetes::{KubeArgs, block_on},
    output::{OutputArgs, Table},
    snapshot::cluster,
};
use crate::{api::Report, model::NodeName};

/// How many ports are tried without `--vip`, because each may wait for several timeouts.
const MOST: usize = 20;

/// Options of `connect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Every VIP of the cluster, from this host:
    directway connect
  One of them, with 100 connections to each port:
    directway connect --vip 192.168.188.120 --count 100

Connects and hangs up, as often as asked, to each TCP port. A node that carries
the VIP itself shows nothing about it, whoever runs there: such ports are SKIPped
with the reason, and so are UDP and SCTP. helm test runs this command in a pod.

Exit status: 0 nothing FAILed (also if all was skipped); 1 something did;
64 wrong command line.")]
pub struct Args {
    /// Only this VIP; may be repeated [default: all, at most 20 ports]
    #[arg(long = "vip", value_name = "ADDRESS")]
    vips: Vec<IpAddr>,
    /// Connections to each port
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// How long to wait for each connection
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// The node that this runs on, if this host is a node
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The result for one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    /// Every connection was established.
    Pass,
    /// Not tried: a connection would show nothing, or needs an application's protocol.
    Skip,
    /// At least one connection failed.
    Fail,
}

/// One line of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectResult {
    level: Level,
    /// VIP, port and protocol.
    target: String,
    /// The VirtualService, as namespace/name.
    virtual_service: String,
    found: String,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let cluster = cluster(&args.kube)?;
    let reports: BTreeMap<&NodeName, &Report> = cluster.readable().collect();
    let only: BTreeSet<IpAddr> = args.vips.iter().copied().collect();
    let node = args.node.clone().map(NodeName);
    let targets = targets(cluster.snapshot(), &reports, node.as_ref(), &only);
    if let Some(vip) = only
        .iter()
        .find(|vip| !targets.iter().any(|target| target.address.ip() == **vip))
    {
        return Err(Failure::Failed(format!(
            "--vip {vip}: no VirtualService that is accepted has it; see directway status"
        )));
    }
    let most = if only.is_empty() { MOST } else { usize::MAX };
    let left_out = targets.len().saturating_sub(most);
    let findings = block_on(async {
        let mut findings = Vec::new();
        for target in targets.iter().take(most) {
            findings.push(try_out(target, args).await);
        }
        findings
    })?;
    args.output
        .output
        .print(&findings, || text(&findings, left_out))?;
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

async fn try_out(target: &Target, args: &Args) -> ConnectResult {
    let (level, found) = match &target.pointless {
        Some(why) => (Level::Skip, why.clone()),
        None => {
            connect(
                target.address,
                args.count,
                Duration::from_secs(args.timeout),
            )
            .await
        }
    };
    ConnectResult {
        level,
        target: format!("{}/{}", target.address, target.protocol),
        virtual_service: target.key.to_string(),
        found,
    }
}

/// Connects `count` times, one after the other, each from another source port, so that IPVS schedules each anew.
async fn connect(address: SocketAddr, count: u32, patience: Duration) -> (Level, String) {
    let mut worst = Duration::ZERO;
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..count {
        let begun = Instant::now();
        let failure = match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                worst = worst.max(begun.elapsed());
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", patience.as_secs()),
        };
        *failures.entry(failure).or_default() += 1;
    }
    if failures.is_empty() {
        let worst = worst.as_secs_f64() * 1000.0;
        let found = format!("{count} of {count} connections, the slowest in {worst:.1} ms");
        return (Level::Pass, found);
    }
    let failed: u32 = failures.values().sum();
    let why: Vec<String> = failures
        .iter()
        .map(|(why, times)| format!("{times} × {why}"))
        .collect();
    let found = format!(
        "{failed} of {count} connections failed: {}; see directway status",
        why.join(", ")
    );
    (Level::Fail, found)
}

fn text(findings: &[ConnectResult], left_out: usize) -> String {
    if findings.is_empty() {
        return "no VirtualService is served: nothing to connect to\n".to_owned();
    }
    let mut table = Table::default();
    for finding in findings {
        let level = match finding.level {
            Level::Pass => "PASS",
            Level::Skip => "SKIP",
            Level::Fail => "FAIL",
        };
        table.row([
            level,
            &finding.target,
            &finding.virtual_service,
            &finding.found,
        ]);
    }
    let mut text = table.render();
    if left_out > 0 {
        text.push_str(&format!(
            "{left_out} more were not tried: name them with --vip\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        block_on(future).unwrap()
    }

    #[test]
    fn connections_that_come_about_pass() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (level, found) = run(connect(address, 3, Duration::from_secs(5)));
        assert_eq!(level, Level::Pass, "{found}");
        assert!(
            found.starts_with("3 of 3 connections, the slowest in "),
            "{found}"
        );
    }

    #[test]
    fn connections_that_do_not_are_counted_by_cause() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let (level, found) = run(connect(address, 2, Duration::from_secs(5)));
        assert_eq!(level, Level::Fail);
        assert!(
            found.starts_with("2 of 2 connections failed: 2 × Connection refused"),
            "{found}"
        );
    }

    #[test]
    fn a_table_says_what_was_left_out() {
        assert!(text(&[], 0).contains("nothing to connect to"));
        let finding = ConnectResult {
            level: Level::Skip,
            target: "10.0.0.100:53/UDP".to_owned(),
            virtual_service: "shop/dns".to_owned(),
            found: "why".to_owned(),
        };
        let text = text(&[finding], 7);
        assert_eq!(
            text,
            "SKIP  10.0.0.100:53/UDP  shop/dns  why\n7 more were not tried: name them with --vip\n"
        );
    }
}
