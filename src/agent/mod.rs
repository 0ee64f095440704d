//! The agent of one node: sources → pass → kernel → report.

mod drift;
mod elections;
mod former;
mod journal;
mod kube_proxy;
mod ledger_file;
mod links;
mod memory;
mod nics;
mod pass;
mod report;
mod run_dir;
mod runner;
mod shared;
mod state_writer;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unseen;
mod wire;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};

use crate::{
    admin::{self, Admin},
    cluster::{self, Feed, Own, SourceConfig, SourceName, Store, UndoSwitch, Wanted},
    election::Timing,
    kernel::{Kernel, KernelError, linux::Linux},
    metrics::Metrics,
    model::{IpvsSetting, NodeName, ProxyAnswer, SyncDaemon},
};

pub use elections::{Board, Elections};
pub use kube_proxy::{ask as ask_kube_proxy, parse_config as parse_kube_proxy};
pub use ledger_file::{LedgerError, LedgerFile};
pub use pass::{Findings, PassEnd, PassError, Passes, View};
pub use report::{peer_state, report};
pub use run_dir::{RunDir, RunDirError};
pub use runner::{Cause, Intervals, Next, Trigger, run as run_passes};
pub use shared::Shared;
pub use wire::{Asking, Told, Wire};
use worker::{Job, Worker};

/// How long a pass that is running may take to end after the agent was told to.
const GRACE: Duration = Duration::from_secs(10);
/// How long an agent that has undone its node tries to report that.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node's name, as in its manifest.
    pub node_name: NodeName,
    /// Where manifests come from.
    pub source: SourceConfig,
    /// The ConfigMap that may ask for everything to be undone; only with an API server.
    pub undo_switch: Option<UndoSwitch>,
    /// Where the ledger is kept; must outlive the agent, but not a reboot.
    pub run_dir: PathBuf,
    /// Where the admin endpoint listens.
    pub admin_address: SocketAddr,
    /// How often passes run.
    pub intervals: Intervals,
    /// Timers of the election of directors.
    pub timing: Timing,
    /// How long the kernel keeps a VIP whose agent is gone, where another director could take it; `None` = for ever.
    pub vip_lifetime: Option<Duration>,
    /// Settings of IPVS that the node shall have while it directs.
    pub ipvs: BTreeMap<IpvsSetting, u32>,
    /// Where they are written.
    pub ipvs_settings_dir: PathBuf,
    /// How the node exchanges connections with other directors; `None` = not at all.
    pub sync: Option<SyncDaemon>,
}

/// What keeps an agent from starting or running.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel's sockets cannot be opened.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// No API server is configured.
    #[error("{0}")]
    Source(String),
    /// The admin endpoint, a thread or a signal handler.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The thread that owns the kernel ended.
    #[error("the passes ended unexpectedly")]
    WorkerGone,
}

/// Runs an agent on this machine's kernel until SIGTERM or SIGINT, which leave the data path as it is – unless the
/// node has just lost its last role: a DaemonSet ends the pod at the same moment, and nobody would undo the node. The
/// same holds while everything is being undone.
pub async fn run(config: AgentConfig) -> Result<(), AgentError> {
    memory::keep_small();
    let open = || Linux::open().map(|it| it.with_settings_in(&config.ipvs_settings_dir));
    let kernels = [open()?, open()?];
    run_on(config, kernels.map(|kernel| Box::new(kernel) as _)).await
}

/// The same on any kernel. Of two holds on it, one is for passes, the other for asking the wire meanwhile.
pub async fn run_on(
    config: AgentConfig,
    [kernel, mut wire]: [Box<dyn Kernel>; 2],
) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Arc::new(Metrics::default());
    let node = config.node_name.clone();
    let (services, endpoints) = watch::channel(BTreeSet::new());
    let own = Arc::new(Own::new(node.clone()));
    let wanted = Wanted::agent(Arc::clone(&own), config.undo_switch.clone(), endpoints);
    let sources = match config.source {
        SourceConfig::Directory(_) => vec![SourceName::Directory],
        SourceConfig::Kubernetes => wanted.sources(),
    };
    let shared = Arc::new(Shared::new(node.clone(), &sources, Arc::clone(&metrics)));
    let admin: Arc<dyn Admin> = Arc::clone(&shared) as _;
    let mut admin = tokio::spawn(admin::serve(config.admin_address, admin));

    let trigger = Trigger::default();
    let board = Arc::new(Board::new(trigger.clone(), Arc::clone(&metrics)));
    let told = trigger.clone();
    let (feed, changes) = Feed::new(move || told.source());
    let (reports, latest) = watch::channel(None);
    let (written, mut reported) = watch::channel(None);
    let (asks_kube_proxy, asked_kube_proxy) = watch::channel(false);
    let (answers, answer) = watch::channel(ProxyAnswer::NotAsked);
    let mut api = None;
    match config.source.clone() {
        SourceConfig::Directory(path) => cluster::directory::spawn(path, feed)?,
        SourceConfig::Kubernetes => {
            let client = cluster::client(wanted.pace, "set KUBECONFIG, or use --source dir:PATH");
            let client = client.await.map_err(AgentError::Source)?;
            api = Some(client.clone());
            tokio::spawn(cluster::follow(client.clone(), wanted, feed));
            let reports = reports.subscribe();
            let writer = state_writer::Writer {
                client,
                node: node.clone(),
                own,
                reports,
                written,
                metrics,
            };
            tokio::spawn(writer.run());
        }
    }
    let (nudge, nudges) = watch::channel(());
    tokio::spawn(links::watch(trigger.clone(), nudge));
    tokio::spawn(kube_proxy::follow(
        asked_kube_proxy,
        answers,
        trigger.clone(),
    ));

    let (asker, asked) = mpsc::channel();
    let (jobs, todo) = mpsc::channel();
    let told = jobs.clone();
    thread("wire", move || worker::ask(wire.as_mut(), &asked, &told))?;
    let worker = Worker {
        passes: Passes::new(node.clone(), &config.run_dir)
            .with_asker(asker)
            .with_elections(Elections::new(
                config.timing,
                config.vip_lifetime,
                board,
                nudges,
            ))
            .with_ipvs(config.ipvs)
            .with_sync(config.sync),
        node: node.clone(),
        kernel,
        store: Store::new(&sources),
        changes,
        shared: Arc::clone(&shared),
        trigger: trigger.clone(),
        reports,
        services,
        kube_proxy: answer,
        asks_kube_proxy,
    };
    let (ended, mut worker_ended) = oneshot::channel::<Infallible>();
    let passes_thread = thread("passes", move || {
        // Dropped however the thread ends.
        let _ended = ended;
        worker.run(todo);
    })?;
    tracing::info!(%node, source = %config.source, run_dir = %config.run_dir.display(), "agent started");
    let passes = run_passes(config.intervals, trigger, |cause| {
        let (done, answer) = oneshot::channel();
        // If the worker is gone, the answer tells.
        let _ = jobs.send(Job::Pass { cause, done });
        async move { answer.await.unwrap_or(Next::Retry) }
    });
    let told_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // What is being uninstalled may have no rights any more to ask anything.
        if shared.is_undoing() {
            tracing::info!("everything is to be undone: this node before the agent ends");
        } else {
            let lost = match api {
                Some(api) => cluster::has_lost_its_roles(api, &node).await,
                None => false,
            };
            if !lost {
                return;
            }
            tracing::info!("this node has no role any more: undoing it before the agent ends");
        }
        let undone = async {
            shared.nothing_left().await;
            let last = latest.borrow().clone();
            // If it cannot be written, there is nothing that could be done about it.
            let _ = tokio::time::timeout(LAST_WORD, reported.wait_for(|it| *it == last)).await;
        };
        tokio::select! {
            () = undone => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let stopped = tokio::select! {
        () = passes => Ok(()),
        () = told_to_end => Ok(()),
        _ = &mut worker_ended => Err(AgentError::WorkerGone),
        failed = &mut admin => match failed {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => Err(AgentError::Io(error)),
            Err(error) => Err(AgentError::Io(std::io::Error::other(error))),
        },
    };
    if let Err(error @ AgentError::WorkerGone) = stopped {
        return Err(error);
    }
    shared.stop();
    tracing::info!("agent ends; what is there stays as it is");
    // A pass that has begun runs to its end: half of a plan is worse than either.
    // If the worker is gone, there is nobody to stop.
    let _ = jobs.send(Job::Stop);
    if tokio::time::timeout(GRACE, worker_ended).await.is_err() {
        tracing::warn!("the last pass did not end within {} s", GRACE.as_secs());
    } else if passes_thread.join().is_err() {
        return Err(AgentError::WorkerGone);
    }
    stopped
}

fn thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work)
}
