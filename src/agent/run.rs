//! One agent from its start to its end: it starts sources and threads, runs passes, and leaves the data path as it is.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use kube::Client;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinError,
};

use crate::{
    admin::{self, Admin},
    api::Report,
    cluster::{
        self, Change, ChangeSender, OwnObjects, SourceConfig, SourceName, Store, UndoSwitch, Wanted,
    },
    desired::NodeOptions,
    election::Timing,
    kernel::{Kernel, KernelError, linux::Linux},
    metrics::Metrics,
    model::{NodeName, ProxyAnswer, ServiceName},
};

use super::{
    ElectionStatus, Elections, HealthChecks, Intervals, NextPass, Passes, Shared, Trigger,
    api_servers::ApiServerLook,
    asker, directory_file, elections, health, heartbeat, kube_proxy, links, memory, run_passes,
    snapshot_file::SnapshotFile,
    snapshot_writer, state_writer,
    worker::{Fallback, Job, Worker},
};

/// How long a running pass may take to end once the agent is ending.
const GRACE: Duration = Duration::from_secs(10);
/// How long an agent that has undone its node tries to report that.
const LAST_WORD: Duration = Duration::from_secs(3);

/// The settings of an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node's name, as in its manifest.
    pub node_name: NodeName,
    /// Where manifests come from.
    pub source: SourceConfig,
    /// The namespace of the Lease that shows that the agent works; `None` = the pod's, or the kubeconfig's.
    pub lease_namespace: Option<String>,
    /// The ConfigMap that may request to undo everything; only with an API server.
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
    /// Settings that the node has for as long as it directs anything.
    pub options: NodeOptions,
    /// Where settings of IPVS are written.
    pub ipvs_settings_dir: PathBuf,
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
    /// The thread of the passes ended.
    #[error("the passes ended unexpectedly")]
    WorkerGone,
}

/// Runs an agent on this machine's kernel until SIGTERM or SIGINT, then leaves the data path as it is. But if the node
/// has just lost its last role, the agent undoes the node first: a DaemonSet ends the pod at the same moment, so no
/// later agent would. It does the same if everything is to be undone.
pub async fn run(config: AgentConfig) -> Result<(), AgentError> {
    memory::keep_small();
    let open = || Linux::open().map(|it| it.with_settings_in(&config.ipvs_settings_dir));
    let kernels = [open()?, open()?];
    run_on(config, kernels.map(|kernel| Box::new(kernel) as _)).await
}

/// The same on any kernel. Passes use the first of the two handles; the second sends neighbour queries meanwhile.
pub async fn run_on(config: AgentConfig, kernels: [Box<dyn Kernel>; 2]) -> Result<(), AgentError> {
    let mut signals = Signals::catch()?;
    let (services, endpoints) = watch::channel(BTreeSet::new());
    let own = Arc::new(OwnObjects::new(config.node_name.clone()));
    let wanted = Wanted::agent(Arc::clone(&own), config.undo_switch.clone(), endpoints);
    let common = Common::new(&config, &wanted);
    let admin: Arc<dyn Admin> = Arc::clone(&common.shared) as _;
    let mut admin = tokio::spawn(admin::serve(config.admin_address, admin));
    let (input, mut server) = start_sources(&config, &common, wanted, own, services).await?;
    let Threads {
        jobs,
        mut ended,
        health,
        passes,
    } = start_threads(&config, &common, input, kernels)?;
    tracing::info!(node = %common.node, source = %config.source, run_dir = %config.run_dir.display(), "agent started");
    let pass = |cause| {
        let (done, answer) = oneshot::channel();
        // If the worker has ended, `answer` is an error, and the pass counts as failed.
        let _ = jobs.send(Job::Pass { cause, done });
        async move { answer.await.unwrap_or(Some(NextPass::RETRY)) }
    };
    let stopped = tokio::select! {
        () = run_passes(config.intervals, common.trigger.clone(), pass) => Ok(()),
        () = told_to_end(&mut signals, &common, &mut server) => Ok(()),
        _ = &mut ended => return Err(AgentError::WorkerGone),
        failed = &mut admin => Err(admin_error(failed)),
    };
    common.shared.stop();
    tracing::info!("agent ends; what is there stays as it is");
    // A pass that has begun runs to its end: half a plan is worse than none or all of it.
    // If the worker has ended, there is nothing to stop.
    let _ = jobs.send(Job::Stop);
    health.end();
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("the last pass did not end within {} s", GRACE.as_secs());
    } else if passes.join().is_err() {
        return Err(AgentError::WorkerGone);
    }
    stopped
}

/// What all parts of an agent have in common.
struct Common {
    node: NodeName,
    /// What must be read before the first pass.
    sources: Vec<SourceName>,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    trigger: Trigger,
}

impl Common {
    fn new(config: &AgentConfig, wanted: &Wanted) -> Self {
        let node = config.node_name.clone();
        let metrics = Arc::new(Metrics::default());
        let sources = match config.source {
            SourceConfig::Directory(_) => vec![SourceName::Directory],
            SourceConfig::Kubernetes => wanted.sources(),
        };
        let shared = Shared::new(node.clone(), &sources, Arc::clone(&metrics));
        Self {
            node,
            sources,
            metrics,
            shared: Arc::new(shared),
            trigger: Trigger::default(),
        }
    }
}

/// The passes' ends of the channels to the sources.
struct Input {
    changes: tokio::sync::mpsc::Receiver<Vec<Change>>,
    services: watch::Sender<BTreeSet<ServiceName>>,
    reports: watch::Sender<Option<Arc<Report>>>,
    api_servers: watch::Receiver<BTreeSet<IpAddr>>,
}

/// What the agent needs of the API server when it ends.
struct Server {
    /// `None` where manifests come from a directory.
    client: Option<Client>,
    /// The last report, and the one that the API server has.
    latest: watch::Receiver<Option<Arc<Report>>>,
    written: watch::Receiver<Option<Arc<Report>>>,
}

/// Starts what reads manifests and, with an API server, what writes the NodeState.
async fn start_sources(
    config: &AgentConfig,
    common: &Common,
    wanted: Wanted,
    own: Arc<OwnObjects>,
    services: watch::Sender<BTreeSet<ServiceName>>,
) -> Result<(Input, Server), AgentError> {
    let trigger = common.trigger.clone();
    let (feed, changes) = ChangeSender::new(move || trigger.source());
    let (reports, latest) = watch::channel(None);
    let (written, reported) = watch::channel(None);
    let (api_servers, api_server_addresses) = watch::channel(BTreeSet::new());
    let client = match config.source.clone() {
        SourceConfig::Directory(path) => {
            let before = directory_file::load(&config.run_dir, &path);
            let (run_dir, of) = (config.run_dir.clone(), path.clone());
            let keep = move |directory| directory_file::save(&run_dir, &of, directory);
            cluster::directory::spawn(path, before, keep, feed)?;
            None
        }
        SourceConfig::Kubernetes => {
            let client = cluster::client(wanted.pace, "set KUBECONFIG, or use --source dir:PATH");
            let (client, host) = client.await.map_err(AgentError::Source)?;
            let mut api_server = ApiServerLook::new(client.clone(), host);
            // Before the first pass, which may bind VIPs.
            api_servers.send_replace(api_server.look().await);
            tokio::spawn(api_server.follow(api_servers, common.trigger.clone()));
            tokio::spawn(cluster::follow(client.clone(), wanted, feed));
            let namespace = config.lease_namespace.as_deref();
            let heart = heartbeat::Heart {
                client: client.clone(),
                namespace: namespace.unwrap_or(client.default_namespace()).to_owned(),
                node: common.node.clone(),
                own: Arc::clone(&own),
                shared: Arc::clone(&common.shared),
                latest: latest.clone(),
                written: reported.clone(),
            };
            tokio::spawn(heart.run());
            let writer = state_writer::NodeStateWriter {
                client: client.clone(),
                node: common.node.clone(),
                own,
                reports: reports.subscribe(),
                written,
                metrics: Arc::clone(&common.metrics),
            };
            tokio::spawn(writer.run());
            Some(client)
        }
    };
    let input = Input {
        changes,
        services,
        reports,
        api_servers: api_server_addresses,
    };
    let server = Server {
        client,
        latest,
        written: reported,
    };
    Ok((input, server))
}

/// What the agent keeps of its threads.
struct Threads {
    /// To the thread of the passes.
    jobs: mpsc::Sender<Job>,
    /// Closed when that thread has ended.
    ended: oneshot::Receiver<Infallible>,
    health: Arc<HealthChecks>,
    passes: JoinHandle<()>,
}

/// Starts the threads of the passes, of neighbour queries, of health checks and of the snapshot's file, and the tasks that watch links and kube-proxy for them.
fn start_threads(
    config: &AgentConfig,
    common: &Common,
    input: Input,
    [kernel, mut wire]: [Box<dyn Kernel>; 2],
) -> Result<Threads, AgentError> {
    let trigger = &common.trigger;
    let (link_changed, link_changes) = watch::channel(());
    tokio::spawn(links::watch(trigger.clone(), link_changed));
    let (asks_kube_proxy, asked) = watch::channel(false);
    let (answers, answer) = watch::channel(ProxyAnswer::NotAsked);
    tokio::spawn(kube_proxy::follow(asked, answers, trigger.clone()));

    let (asker, asker_thread) = asker(config.timing.urgent);
    let (jobs, todo) = mpsc::channel();
    let answers = jobs.clone();
    let hear = move |told| answers.send(Job::Hear(told)).is_ok();
    thread("wire", move || asker_thread.run(wire.as_mut(), hear))?;
    let health = start_health(common)?;
    let status = Arc::new(ElectionStatus::new(
        trigger.clone(),
        Arc::clone(&common.metrics),
    ));
    let begin = move |params| elections::begin_thread(params, link_changes.clone());
    let elections = Elections::new(config.timing.clone(), config.vip_lifetime, status, begin);
    let snapshot_file = SnapshotFile::new(&config.run_dir, config.source.to_string());
    let (snapshots, writer) = snapshot_writer::channel(snapshot_file.clone());
    let writer = thread("snapshot", move || writer.run())?;
    let worker = Worker {
        passes: Passes::new(common.node.clone(), &config.run_dir, elections)
            .with_asker(asker)
            .with_health(Arc::clone(&health))
            .with_options(config.options.clone()),
        node: common.node.clone(),
        kernel,
        store: Store::new(&common.sources),
        fallback: Fallback::Untried,
        snapshot_file,
        snapshots,
        changes: input.changes,
        shared: Arc::clone(&common.shared),
        trigger: trigger.clone(),
        reports: input.reports,
        services: input.services,
        api_servers: input.api_servers,
        kube_proxy: answer,
        asks_kube_proxy,
    };
    let (end, ended) = oneshot::channel();
    let passes = thread("passes", move || {
        // Dropped when the thread ends.
        let _end = end;
        worker.run(todo, writer);
    })?;
    Ok(Threads {
        jobs,
        ended,
        health,
        passes,
    })
}

/// Starts the thread that makes health checks.
fn start_health(common: &Common) -> Result<Arc<HealthChecks>, AgentError> {
    let mut hasher = DefaultHasher::new();
    common.node.hash(&mut hasher);
    let health = Arc::new(HealthChecks::new(hasher.finish()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (shared, metrics) = (Arc::clone(&health), Arc::clone(&common.metrics));
    let trigger = common.trigger.clone();
    thread("health", move || {
        runtime.block_on(health::run(shared, metrics, || trigger.kernel()));
    })?;
    Ok(health)
}

/// The signals that end an agent.
struct Signals([Signal; 2]);

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let [terminate, interrupt] = kinds.map(signal);
        Ok(Self([terminate?, interrupt?]))
    }

    async fn any(&mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Returns when the agent shall end: after a signal. A node to be undone is undone first, unless another signal comes.
async fn told_to_end(signals: &mut Signals, common: &Common, server: &mut Server) {
    signals.any().await;
    // The API server is not asked then: during an uninstallation the agent may have lost its rights.
    if common.shared.is_undoing() {
        tracing::info!("everything is to be undone: this node before the agent ends");
    } else {
        let lost = match server.client.clone() {
            Some(client) => cluster::has_lost_its_roles(client, &common.node).await,
            None => false,
        };
        if !lost {
            return;
        }
        tracing::info!("this node has no role any more: undoing it before the agent ends");
    }
    let undone = async {
        common.shared.nothing_left().await;
        let last = server.latest.borrow().clone();
        // The agent also ends if the report cannot be written: it cannot do anything about that.
        let written = server.written.wait_for(|it| *it == last);
        let _ = tokio::time::timeout(LAST_WORD, written).await;
    };
    tokio::select! {
        () = undone => {}
        () = signals.any() => {}
    }
}

/// Why the admin endpoint ended.
fn admin_error(ended: Result<std::io::Result<Infallible>, JoinError>) -> AgentError {
    match ended {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => AgentError::Io(error),
        Err(error) => AgentError::Io(std::io::Error::other(error)),
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work)
}
