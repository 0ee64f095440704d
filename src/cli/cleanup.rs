//! `directway cleanup`: removes exactly what is ours, whatever the manifests say.

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use crate::{
    agent::{LedgerFile, RunDir, RunDirError},
    kernel::{Kernel, OpResult, execute, linux::Linux},
    model::{Ledger, NodeNet},
    plan::{Op, plan},
};

#[cfg(test)]
mod tests;

use super::{CommandResult, FAILED, Failure, output::OutputArgs, run_dir::RunDirArgs};

/// Options of `cleanup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  Print what would be removed, as ip, ipvsadm and sysctl lines:
    directway cleanup --dry-run
  Remove it, restore sysctls, delete the ledger:
    directway cleanup

Stop the agent first; or unlabel the node, and its agent does the same without
a gap. cleanup does not wait for connections to end. Foreign addresses, routes,
services and settings stay as they are. It can be run again.

Exit status: 0 nothing of directway's is left; 1 something is; 64 wrong command
line.")]
pub struct Args {
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Go on although an agent runs on this node (it may put everything back)
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The result of every op, and the errors.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CleanupReport {
    dry_run: bool,
    ops: Vec<Line>,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    line: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let report = if args.dry_run {
        let observed = Linux::open()?.observe()?;
        let ledger = args.run_dir.ledger(&observed)?;
        let ops = plan(&NodeNet::default(), &observed, &ledger).ops;
        CleanupReport {
            dry_run: true,
            ops: ops.iter().map(|op| line(op, "planned", None)).collect(),
            errors: Vec::new(),
        }
    } else {
        let _lock = lock(args)?;
        clean(&args.run_dir, &mut Linux::open()?)?
    };
    args.output.output.print(&report, || text(&report))?;
    for error in &report.errors {
        eprintln!("directway: {error}");
    }
    let done = report.errors.is_empty();
    Ok(ExitCode::from(if done { 0 } else { FAILED }))
}

/// Locks the run directory, so that no agent works meanwhile. `None` if an agent has it and `--force` is given.
fn lock(args: &Args) -> Result<Option<RunDir>, Failure> {
    let mut run_dir = RunDir::new(&args.run_dir.run_dir);
    match run_dir.open() {
        Ok(()) => Ok(Some(run_dir)),
        Err(RunDirError::Busy { .. }) if args.force => Ok(None),
        Err(RunDirError::Busy { path, holder }) => Err(Failure::Failed(format!(
            "an agent runs on this node ({holder} has locked {path}) and would put everything back: stop it first, or use --force"
        ))),
        Err(error @ RunDirError::Ledger(_)) => Err(Failure::Failed(error.to_string())),
    }
}

fn clean(run_dir: &RunDirArgs, kernel: &mut dyn Kernel) -> Result<CleanupReport, Failure> {
    let observed = kernel.observe()?;
    let ledger = run_dir.ledger(&observed)?;
    let outcome = execute(kernel, plan(&NodeNet::default(), &observed, &ledger).ops);
    let mut errors: Vec<String> = outcome
        .failures()
        .map(|(_, error)| error.to_string())
        .collect();
    // What is still there stays in the ledger, for the next try.
    match kernel.observe() {
        Ok(observed) => {
            let rest = plan(&NodeNet::default(), &observed, &ledger);
            let forgotten = if rest.ops.is_empty() {
                RunDir::forget(&run_dir.run_dir)
            } else {
                errors.extend(left(&rest.ops, &errors));
                keep(&run_dir.run_dir, &rest.ledger)
            };
            errors.extend(forgotten.err());
        }
        Err(error) => errors.push(format!(
            "whether everything is gone cannot be seen ({error}); the ledger stays, run cleanup again"
        )),
    }
    let ops = outcome.done().map(|(op, result)| match result {
        OpResult::Applied => line(op, "done", None),
        OpResult::Failed(error) => line(op, "failed", Some(error.to_string())),
        OpResult::Skipped => line(op, "skipped", None),
    });
    Ok(CleanupReport {
        dry_run: false,
        ops: ops.collect(),
        errors,
    })
}

/// The error if ops are left although none failed: an entry came back, or another one had hidden it.
fn left(rest: &[Op], errors: &[String]) -> Option<String> {
    errors.is_empty().then(|| {
        let lines: Vec<String> = rest.iter().map(ToString::to_string).collect();
        format!("still to be done: {}; run cleanup again", lines.join("; "))
    })
}

fn keep(run_dir: &Path, ledger: &Ledger) -> Result<(), String> {
    let file = LedgerFile::in_dir(run_dir);
    file.save(ledger).map_err(|error| error.to_string())
}

fn line(op: &Op, result: &'static str, error: Option<String>) -> Line {
    Line {
        line: op.to_string(),
        result,
        error,
    }
}

fn text(report: &CleanupReport) -> String {
    if report.ops.is_empty() {
        return "nothing of directway's is on this node\n".to_owned();
    }
    let ops = report.ops.iter().map(|op| match op.result {
        "failed" => format!("{}    # failed\n", op.line),
        "skipped" => format!("{}    # skipped: rests on what failed\n", op.line),
        _ => format!("{}\n", op.line),
    });
    ops.collect()
}
