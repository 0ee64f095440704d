//! `directway undo`: has every agent take back what it did, and waits until none has anything left.

mod cluster;
mod progress;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{cluster::UndoSwitch, model::NodeName};

use self::{
    cluster::Cluster,
    progress::{UndoProgress, progress},
};
use super::{
    CommandResult, Failure,
    kubernetes::{KubeArgs, block_on},
    output::print,
};

/// How often to read the reports.
const LOOK: Duration = Duration::from_secs(1);
/// The least time to wait, because an agent that was at work at the request may take a second to report.
const SETTLE: Duration = Duration::from_secs(3);

/// Options of `undo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Take directway's work back on every node, before it is uninstalled:
    directway undo
  Serve again after all:
    directway undo --cancel

The request is a word in a ConfigMap that the agents watch (directway agent
--undo-switch). It stays in force until --cancel: agents that are started
meanwhile do nothing. helm uninstall runs this command by itself; it can be
ended and run again. On one node alone: directway cleanup.

Exit status: 0 nothing of directway's is left on any node; 1 on some it is, or
that is not known; 64 wrong command line.")]
pub struct Args {
    /// The ConfigMap that the agents watch
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "directway-system/directway-undo"
    )]
    switch: UndoSwitch,
    /// How long to wait for all nodes
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
    /// Have the agents do their work again, and do not wait
    #[arg(long, conflicts_with = "timeout")]
    cancel: bool,
    #[command(flatten)]
    kube: KubeArgs,
}

pub(super) fn run(args: &Args) -> CommandResult {
    block_on(async {
        let cluster = Cluster::new(args.kube.client().await?);
        if args.cancel {
            cluster.cancel(&args.switch).await?;
            print("the agents do their work again")?;
            return Ok(ExitCode::SUCCESS);
        }
        let request = cluster.request(&args.switch).await?;
        let switch = &args.switch;
        print(&match &request {
            Some(request) => format!(
                "asked all agents to undo their nodes: request {request} in ConfigMap {switch}"
            ),
            None => format!(
                "ConfigMap {switch} is not there: no agent can be asked; looking at what they did before"
            ),
        })?;
        wait(
            &cluster,
            request.as_deref(),
            Duration::from_secs(args.timeout),
        )
        .await
    })?
}

/// Prints the progress of each node whenever it changes, until all are done or `timeout` is over.
async fn wait(cluster: &Cluster, request: Option<&str>, timeout: Duration) -> CommandResult {
    let start = Instant::now();
    let mut told: BTreeMap<NodeName, UndoProgress> = BTreeMap::new();
    let mut problem = String::new();
    loop {
        let all = match cluster.cluster_state().await {
            Ok(cluster_state) => {
                problem.clear();
                let now = progress(request, &cluster_state);
                for (name, progress) in &now {
                    if told.get(name) != Some(progress) {
                        print(&format!("{name}: {progress}"))?;
                    }
                }
                told = now;
                told.values()
                    .all(|progress| *progress == UndoProgress::Done)
            }
            // The error may be temporary; if it is not, `timeout` ends the wait.
            Err(error) => {
                let error = error.to_string();
                if problem != error {
                    print(&format!("{error}; trying again"))?;
                    problem = error;
                }
                false
            }
        };
        let waited = start.elapsed();
        if all && waited >= SETTLE.min(timeout) {
            let nodes = told.len();
            print(&format!(
                "done: {nodes} nodes, and nothing of directway's is left on them"
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        if waited >= timeout {
            return Err(Failure::Failed(late(&told, &problem, timeout)));
        }
        sleep(LOOK).await;
    }
}

/// The message that names the nodes that are not done, and what to do there.
fn late(told: &BTreeMap<NodeName, UndoProgress>, problem: &str, timeout: Duration) -> String {
    let seconds = timeout.as_secs();
    let open: Vec<String> = told
        .iter()
        .filter(|(_, progress)| **progress != UndoProgress::Done)
        .map(|(name, progress)| format!("  {name}: {progress}\n"))
        .collect();
    let mut text = match (open.len(), problem) {
        (0, "") => format!("not known to be done after {seconds} s\n"),
        (0, problem) => format!("not known to be done after {seconds} s: {problem}\n"),
        (count, _) => format!(
            "{count} of {} nodes not undone after {seconds} s:\n",
            told.len()
        ),
    };
    text.extend(open);
    text.push_str(
        "What to do: bring the node and its agent back and run this (or helm uninstall) again; or run
\"directway cleanup\" on it; or reboot it, which leaves nothing of directway's either. The request
stays in force: an agent that comes back follows it. To uninstall without these nodes: helm
uninstall --no-hooks. To serve again instead: directway undo --cancel, or helm rollback to the
newest revision.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_is_named_with_what_to_do() {
        let silent = UndoProgress::Silent {
            not_ready: Some("NodeStatusUnknown".to_owned()),
            last: "1 quiet VIP".to_owned(),
        };
        let told = [("a".into(), UndoProgress::Done), ("b".into(), silent)].into();
        let text = late(&told, "", Duration::from_secs(120));
        assert!(
            text.starts_with("1 of 2 nodes not undone after 120 s:\n  b: its agent has not answered, and the node is not ready"),
            "{text}"
        );
        for word in ["directway cleanup", "--no-hooks", "--cancel"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let text = late(
            &BTreeMap::new(),
            "list Nodes: refused",
            Duration::from_secs(1),
        );
        assert!(text.starts_with("not known to be done after 1 s: list Nodes: refused\n"));
    }
}
