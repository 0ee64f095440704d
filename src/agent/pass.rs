//! One pass: reads the kernel, decides, acts, reads the kernel again. Serial and level-triggered: only the present
//! state matters, not the changes that led to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    desired::{
        Admission, Desired, DirectorHistory, DrainTimers, IncompleteVips, Inputs, NodeOptions,
        Questions, RecentDirectors, admit, admit_here, conflict, desired, questions, reserved,
        segments,
    },
    health::Health,
    kernel::{Kernel, KernelError, OpResults, execute},
    model::{
        AddressKey, Conflict, Elected, IpRanges, Ledger, NodeName, Observed, Peers, ProxyAnswer,
        Reserved, Rivals, Snapshot, WireEvidence,
    },
    plan::{Op, plan},
};

use super::{
    Asker, Elections, HealthChecks, NeighbourAnswers, NeighbourCache, NextPass, PassError,
    PassInput, PassResult, PassState, RunDir, RunDirError,
    drains::Drains,
    drift::Drift,
    ownership::{assume_ours, settle},
};

/// While something is leaving, how soon a pass checks whether it has left.
const LEAVING: Duration = Duration::from_millis(500);
/// ... but passes for that alone shall not take more than a tenth of the time.
const LEAVING_SHARE: u32 = 10;
/// How long one look at services takes at most: with thousands of them, every one has its turn later.
const LOOKING: Duration = Duration::from_millis(10);
/// How soon to try for the lock that another agent holds.
const BUSY: Duration = Duration::from_millis(500);

/// What a pass goes by, as it is before the pass.
struct Basis<'a> {
    observed: Observed,
    ledger: Ledger,
    elected: Elected,
    admission: Admission<'a>,
    reserved: Reserved,
}

/// What one agent's passes keep between each other.
#[derive(Debug)]
pub struct Passes {
    node: NodeName,
    run_dir: RunDir,
    timers: DrainTimers,
    drains: Drains,
    neighbours: NeighbourCache,
    /// The elections of this node's segments.
    elections: Elections,
    director_history: DirectorHistory,
    incomplete: IncompleteVips,
    /// Takes the neighbour queries that a pass need not wait for, or must not send yet.
    asker: Option<Asker>,
    /// Makes health checks; without it, all real servers count as healthy.
    health: Option<Arc<HealthChecks>>,
    options: NodeOptions,
    /// Whether the last pass had VIPs that were still to leave their NIC.
    yielding: bool,
    drift: Drift,
    kube_proxy: ProxyAnswer,
    /// Where this node reaches the API server.
    api_servers: BTreeSet<IpAddr>,
}

impl Passes {
    /// For this node, with its ledger in `run_dir`. `elections` decide which VIPs are on its NICs.
    pub fn new(node: NodeName, run_dir: &Path, elections: Elections) -> Self {
        Self {
            node,
            run_dir: RunDir::new(run_dir),
            timers: DrainTimers::default(),
            drains: Drains::default(),
            neighbours: NeighbourCache::default(),
            elections,
            director_history: DirectorHistory::default(),
            incomplete: IncompleteVips::default(),
            asker: None,
            health: None,
            options: NodeOptions::default(),
            yielding: false,
            drift: Drift::default(),
            kube_proxy: ProxyAnswer::NotAsked,
            api_servers: BTreeSet::new(),
        }
    }

    /// Hands queries that repeat known answers, and those whose turn has not come, to `asker`; the answers come through
    /// [`Self::hear`]. Without it, passes send all queries at once and wait for the answers.
    #[must_use]
    pub fn with_asker(mut self, asker: Asker) -> Self {
        self.asker = Some(asker);
        self
    }

    /// Decides by what `health` finds out, and says what it is to check.
    #[must_use]
    pub fn with_health(mut self, health: Arc<HealthChecks>) -> Self {
        self.health = Some(health);
        self
    }

    /// Gives the node these settings for as long as it directs anything.
    #[must_use]
    pub fn with_options(mut self, options: NodeOptions) -> Self {
        self.options = options;
        self
    }

    /// Stores answers of neighbours; returns whether they need a pass.
    pub fn hear(&mut self, told: NeighbourAnswers, now: Duration) -> bool {
        self.neighbours.hear(told, now)
    }

    /// Stores kube-proxy's answer; it changes reports, never the kernel.
    pub fn hear_kube_proxy(&mut self, answer: ProxyAnswer) {
        self.kube_proxy = answer;
    }

    /// Stores where this node reaches the API server.
    pub fn hear_api_servers(&mut self, addresses: BTreeSet<IpAddr>) {
        self.api_servers = addresses;
    }

    /// Looks between passes for changes of which the kernel notifies nobody: whether some of the services and their
    /// destinations are others, and whether an ARP setting of an interface that shall be quiet is.
    pub fn finds_drift(&mut self, kernel: &mut dyn Kernel) -> bool {
        let started = Instant::now();
        for _ in 0..self.drift.turn() {
            // If the kernel does not answer, the next pass reports it.
            if let Some(key) = self.drift.next()
                && let Ok(observed) = kernel.observe_service(&key)
                && !self.drift.is_unchanged(&key, &observed)
            {
                return true;
            }
            if started.elapsed() >= LOOKING {
                break;
            }
        }
        self.drift.next_arp().is_some_and(|before| {
            let devs = before.own.keys().cloned().collect();
            kernel.arp_settings(&devs).is_ok_and(|now| now != before)
        })
    }

    /// Whether the run directory is this agent's: another one may still have it, as in a rolling update.
    pub fn has_run_dir(&self) -> bool {
        self.run_dir.is_open()
    }

    /// Whether there is something to look at between passes.
    pub fn is_watching(&self) -> bool {
        self.drift.is_watching()
    }

    fn ask_neighbours(
        &mut self,
        kernel: &mut dyn Kernel,
        questions: &Questions,
        now: Duration,
    ) -> Result<(), KernelError> {
        let (mut queries, due) = self.neighbours.questions(questions, now);
        match &self.asker {
            Some(asker) => queries = asker.hand_over(queries, due),
            None => queries.extend(due),
        }
        if queries.is_empty() {
            return Ok(());
        }
        let (told, result) = queries.ask(kernel);
        self.neighbours.hear(told, now);
        if result.is_err() {
            self.neighbours.could_not_ask(&queries);
        }
        result
    }

    /// Runs one pass at `now` of the agent's monotonic clock. Must not be called before every source has synced.
    pub fn run<'a>(
        &mut self,
        kernel: &mut dyn Kernel,
        input: PassInput<'a>,
        now: Duration,
    ) -> PassResult<'a> {
        let mut end = PassResult {
            outcome: OpResults::default(),
            drift: 0,
            error: None,
            state: None,
            next: NextPass::default(),
        };
        let started = Instant::now();
        self.drift.begin(now);
        let result = self.work(kernel, input, now, &mut end);
        end.next = match &result {
            Err(PassError::RunDir(RunDirError::Busy { .. })) => NextPass::within(BUSY),
            Err(PassError::Kernel(_) | PassError::RunDir(RunDirError::Ledger(_))) | Ok(()) => {
                NextPass {
                    deadline: self.deadline(now, started.elapsed()),
                    failed: result.is_err() || !end.outcome.is_complete(),
                }
            }
        };
        end.error = result.err();
        end
    }

    fn work<'a>(
        &mut self,
        kernel: &mut dyn Kernel,
        input: PassInput<'a>,
        now: Duration,
        end: &mut PassResult<'a>,
    ) -> Result<(), PassError> {
        let opened = self.run_dir.open();
        if let Err(error @ RunDirError::Busy { .. }) = opened {
            return Err(error.into());
        }
        let basis = self.look(kernel, input.snapshot, opened.is_ok())?;
        let asked = questions(
            &self.node,
            input.snapshot,
            &basis.admission,
            &basis.observed,
            &basis.elected,
        );
        // Queries that could not be sent do not stop the pass; their error is returned at its end.
        let sensed = self.ask_neighbours(kernel, &asked, now);
        let wire = self.neighbours.evidence();
        let former = self
            .director_history
            .update(input.snapshot, self.elections.retire(), now);
        let desired = self.decide(input, &basis, &wire, &former, now);
        let mut plan = plan(&desired.net, &basis.observed, &basis.ledger);
        self.drift.postpone(&mut plan.ops, &desired.net, now);
        let before = basis.ledger;
        let mut state = PassState {
            admission: basis.admission,
            desired,
            observed: basis.observed,
            ledger: plan.ledger,
            reserved: basis.reserved,
            conflicts: BTreeMap::new(),
            moves: Vec::new(),
            kube_proxy: self.kube_proxy.clone(),
            vanished: BTreeSet::new(),
            repairs: BTreeMap::new(),
            overwritten: BTreeMap::new(),
            vip_devices: self.options.vip_devices.clone(),
            incomplete: IpRanges::default(),
            drains: BTreeMap::new(),
        };
        let acted = opened
            .map_err(PassError::from)
            .and_then(|()| self.act(kernel, plan.ops, &before, &mut state, end, now));
        if let Err(PassError::Kernel(_)) = acted {
            // The ops were applied, but what the kernel has now is not known: a report would be a guess.
            return acted;
        }
        let after = state.after(&self.node, input.snapshot);
        self.incomplete.update(&after, now);
        state.incomplete = self.incomplete.vips();
        let elections = match &acted {
            Ok(()) => self.hold_elections(input, &state, &former),
            Err(_) => Ok(()),
        };
        state.moves = self.elections.moves();
        state.drains = self.drains.update(&state, now, Timestamp::now());
        state.conflicts = conflicts(&basis.elected, &state.observed, &wire, input.snapshot);
        state.vanished = self.drift.vanished(now);
        let repairs = self.drift.repairs();
        state.repairs = repairs.all();
        state.overwritten = repairs.warnings(&state.vips());
        if acted.is_ok() {
            self.drift
                .applied(&state.desired.net, &end.outcome, &state.observed);
        }
        end.state = Some(state);
        acted.and(elections.and(sensed).map_err(PassError::from))
    }

    /// Reads the kernel, and what is ours there.
    fn look<'a>(
        &self,
        kernel: &mut dyn Kernel,
        snapshot: &'a Snapshot,
        opened: bool,
    ) -> Result<Basis<'a>, KernelError> {
        let held_before = self.elections.held();
        let observed = kernel.observe()?;
        let ledger = self.ledger(opened, &observed, snapshot);
        // An election may move a VIP while the kernel is read: neither the state before nor the one after is drift.
        let elected = self.elections.elected(held_before, &observed, &ledger);
        let admission = admit_here(snapshot, |vip| {
            has(vip, snapshot, &observed, &ledger, &elected)
        });
        let reserved = reserved(&observed, &ledger, &self.api_servers);
        Ok(Basis {
            observed,
            ledger,
            elected,
            admission,
            reserved,
        })
    }

    /// What this node should be, and which timers run from now on.
    fn decide(
        &mut self,
        input: PassInput<'_>,
        basis: &Basis<'_>,
        wire: &WireEvidence,
        former: &RecentDirectors,
        now: Duration,
    ) -> Desired {
        let health = self.health.as_ref().map(|it| it.lock());
        let mut desired = desired(&Inputs {
            node: &self.node,
            snapshot: input.snapshot,
            complete: input.complete,
            admission: &basis.admission,
            options: &self.options,
            observed: &basis.observed,
            ledger: &basis.ledger,
            reserved: &basis.reserved,
            wire,
            health: match &health {
                Some(state) => Health::Checked(&state.checks),
                None => Health::Assumed,
            },
            elected: &basis.elected,
            former,
            timers: &self.timers,
            now,
        });
        drop(health);
        if let Some(health) = &self.health {
            health.want(&mut desired);
        }
        self.neighbours.doubt(&desired.doubtful, now);
        self.timers = desired.timers.clone();
        self.yielding = !desired.yielding.is_empty();
        desired
    }

    /// What is ours, as far as known.
    fn ledger(&self, opened: bool, observed: &Observed, snapshot: &Snapshot) -> Ledger {
        match self.run_dir.ledger() {
            Some(ledger) => ledger.clone().followed(&observed.links),
            // A first start, or the file was deleted.
            None if opened => Ledger::adopt(observed),
            None => assume_ours(observed, &admit(snapshot)),
        }
    }

    /// Writes the ledger, applies the ops, reads the kernel again and trims the ledger to what it has now. `before` was the
    /// ledger until this pass.
    fn act(
        &mut self,
        kernel: &mut dyn Kernel,
        ops: Vec<Op>,
        before: &Ledger,
        state: &mut PassState<'_>,
        end: &mut PassResult<'_>,
        now: Duration,
    ) -> Result<(), PassError> {
        // Before the ops, so that an agent that is killed meanwhile leaves nothing that its successor does not know.
        self.run_dir.save(&state.ledger)?;
        if ops.is_empty() {
            return Ok(());
        }
        let desired = &state.desired;
        end.drift = self.drift.count(&ops, &desired.net, now, Timestamp::now());
        // Dropped first, so that two copies of a large table are never in memory together.
        state.observed = Observed::default();
        end.outcome = execute(kernel, ops);
        state.observed = kernel.observe()?;
        settle(&mut state.ledger, before, &end.outcome, &state.observed);
        let rest = plan(&desired.net, &state.observed, &state.ledger).ledger;
        self.run_dir.save(&rest)?;
        state.ledger = rest;
        Ok(())
    }

    /// Sends the elections what follows from the present state.
    fn hold_elections(
        &mut self,
        input: PassInput<'_>,
        state: &PassState<'_>,
        former: &RecentDirectors,
    ) -> Result<(), KernelError> {
        let after = state.after(&self.node, input.snapshot);
        let segments = segments(&after, former, input.fresh && input.complete);
        let published = self.elections.publish(segments);
        published.map_err(|error| KernelError {
            doing: "begin the election of a segment".to_owned(),
            cause: error.to_string(),
        })
    }

    /// Whether no timer runs and no VIP is still to leave its NIC.
    pub fn is_settled(&self) -> bool {
        !(self.timers.is_waiting() || self.yielding)
    }

    /// How long until the next thing that waits is due.
    fn deadline(&self, now: Duration, took: Duration) -> Option<Duration> {
        // The elections trigger a pass when a VIP has left, but an election's thread may end before it does.
        let leaving = self.timers.is_leaving() || self.yielding;
        let leaving = leaving.then(|| LEAVING.max(took * LEAVING_SHARE));
        let wire = self.neighbours.next_due();
        let wire = wire.map(|due| due.saturating_sub(now));
        let absent = self.timers.absent.values().map(|period| period.until);
        let absent = absent.min().map(|until| until.saturating_sub(now));
        let incomplete = self.incomplete.next_due(now);
        let repair = self.drift.next_due(now);
        let waits = [leaving, wire, absent, incomplete, repair];
        waits.into_iter().flatten().min()
    }
}

/// Whether this node has `vip` as a VIP: it holds it or, where no agent can report that a director does, has bound it.
fn has(
    vip: IpAddr,
    snapshot: &Snapshot,
    observed: &Observed,
    ledger: &Ledger,
    elected: &Elected,
) -> bool {
    elected.held.contains_key(&vip)
        || (snapshot.peers == Peers::Silent && ledger.has_bound(vip, observed))
}

/// Other hosts that answer for VIPs that this node holds or may hold.
fn conflicts(
    elected: &Elected,
    observed: &Observed,
    wire: &WireEvidence,
    snapshot: &Snapshot,
) -> BTreeMap<AddressKey, Conflict> {
    let with = |(claim, rivals): (&AddressKey, &Rivals)| {
        let found = conflict(claim, rivals.clone(), observed, wire, snapshot);
        (claim.clone(), found)
    };
    elected.conflicts.iter().map(with).collect()
}
