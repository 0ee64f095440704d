//! One pass: look, decide, act, look again. Serial and level-triggered: what happened in between doesn't matter,
//! only what is there now.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use crate::{
    desired::{
        Admission, Desired, Former, Inputs, Memory, Questions, Sight, admit, conflict, desired,
        is_elected, questions, segments, synchronise, tune,
    },
    kernel::{Kernel, KernelError, OpError, Outcome, execute},
    model::{
        AddressKey, Conflict, IpvsSetting, Ledger, Move, NodeName, Observed, ProxyAnswer, Reason,
        Refusal, Role, Snapshot, SyncDaemon, has_proxy_device,
    },
    plan::{Op, plan},
};

use super::{
    Asking, Elections, Next, RunDir, RunDirError, Told, Wire,
    drift::Drift,
    former::Formers,
    unseen::{assume_ours, keep_ours},
};

/// While something is leaving, how soon to look whether it has left.
const LEAVING: Duration = Duration::from_millis(500);
/// ... but passes for that alone shall not take more than a tenth of the time.
const LEAVING_SHARE: u32 = 10;
/// How soon to try for the lock that another agent holds.
const BUSY: Duration = Duration::from_millis(500);

/// What the sources say, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All that is known.
    pub snapshot: &'a Snapshot,
    /// Whether that is everything. If not (a manifest that never could be read), nothing of ours is taken away.
    pub complete: bool,
    /// Whether the sources can be read now; if not, this is the last that is known.
    pub fresh: bool,
}

/// Why a pass did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The kernel or the wire could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The run directory cannot be used: nothing was changed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

/// What is the case after a pass: the material of reports.
#[derive(Debug)]
pub struct Findings<'a> {
    /// Which VirtualServices are served.
    pub admission: Admission<'a>,
    /// What this node should be.
    pub desired: Desired,
    /// What it is.
    pub observed: Observed,
    /// What is ours, as far as known.
    pub ledger: Ledger,
    /// Who else answers for VIPs that this node should hold.
    pub conflicts: BTreeMap<AddressKey, Conflict>,
    /// VIPs that came to this node, the newest last.
    pub moves: Vec<Move>,
    /// What kube-proxy says of itself.
    pub kube_proxy: ProxyAnswer,
    /// VIPs whose services were found gone lately.
    pub vanished: BTreeSet<IpAddr>,
}

impl Findings<'_> {
    /// Whether kube-proxy in ipvs mode may see services of this node.
    pub fn meets_kube_proxy(&self) -> bool {
        !self.desired.net.services.is_empty() && has_proxy_device(&self.observed)
    }
}

/// A pass that has ended.
#[derive(Debug)]
pub struct PassEnd<'a> {
    /// What became of every op.
    pub outcome: Outcome,
    /// How many of the ops repaired what somebody else had changed.
    pub drift: usize,
    /// What kept the pass from its work.
    pub error: Option<PassError>,
    /// What it found; nothing if the kernel could not be looked at, or if the node is another agent's.
    pub findings: Option<Findings<'a>>,
    /// When the next pass is due.
    pub next: Next,
}

impl PassEnd<'_> {
    /// Whether nothing of ours is in this node's kernel.
    pub fn leaves_nothing(&self) -> bool {
        let ledger = self.findings.as_ref().map(|findings| &findings.ledger);
        self.error.is_none() && ledger == Some(&Ledger::default())
    }
}

/// What one agent's passes keep between each other.
#[derive(Debug)]
pub struct Passes {
    node: NodeName,
    run_dir: RunDir,
    memory: Memory,
    wire: Wire,
    /// Who holds what, where several directors agree on that among themselves.
    elections: Option<Elections>,
    formers: Formers,
    /// Who asks the wire what need not hold up a pass.
    asker: Option<Sender<Asking>>,
    /// Settings of IPVS that this node shall have while it directs.
    ipvs: BTreeMap<IpvsSetting, u32>,
    /// How it exchanges connections with other directors, if it does.
    sync: Option<SyncDaemon>,
    drift: Drift,
    kube_proxy: ProxyAnswer,
}

impl Passes {
    /// For this node, with its ledger in `run_dir`.
    pub fn new(node: NodeName, run_dir: &Path) -> Self {
        Self {
            node,
            run_dir: RunDir::new(run_dir),
            memory: Memory::default(),
            wire: Wire::default(),
            elections: None,
            formers: Formers::default(),
            asker: None,
            ipvs: BTreeMap::new(),
            sync: None,
            drift: Drift::default(),
            kube_proxy: ProxyAnswer::NotAsked,
        }
    }

    /// Leaves it to elections which VIPs are on the NICs. Without this, whoever is preferred claims them, as in a
    /// forecast.
    #[must_use]
    pub fn with_elections(mut self, elections: Elections) -> Self {
        self.elections = Some(elections);
        self
    }

    /// Lets somebody else ask the wire again what is known already; answers come through [`Self::hear`]. Without this,
    /// passes ask everything themselves and wait for the answers.
    #[must_use]
    pub fn with_asker(mut self, asker: Sender<Asking>) -> Self {
        self.asker = Some(asker);
        self
    }

    /// Sets these settings of IPVS for as long as the node directs anything.
    #[must_use]
    pub fn with_ipvs(mut self, settings: BTreeMap<IpvsSetting, u32>) -> Self {
        self.ipvs = settings;
        self
    }

    /// Exchanges connections with other directors for as long as the node directs anything.
    #[must_use]
    pub fn with_sync(mut self, daemon: Option<SyncDaemon>) -> Self {
        self.sync = daemon;
        self
    }

    /// Takes answers from the wire; tells whether they are worth a pass.
    pub fn hear(&mut self, told: Told, now: Duration) -> bool {
        self.wire.hear(told, now)
    }

    /// Takes what kube-proxy says of itself; it changes reports, never the kernel.
    pub fn hear_kube_proxy(&mut self, answer: ProxyAnswer) {
        self.kube_proxy = answer;
    }

    /// Looks for one of the services that should be there, between passes: IPVS tells nobody of what is deleted.
    pub fn misses_a_service(&mut self, kernel: &mut dyn Kernel) -> bool {
        let key = self.drift.next();
        // If the kernel does not answer, the next pass says so.
        key.is_some_and(|key| matches!(kernel.has_service(&key), Ok(false)))
    }

    /// Whether there is one to look for.
    pub fn has_services(&self) -> bool {
        self.drift.has_services()
    }

    fn sense(
        &mut self,
        kernel: &mut dyn Kernel,
        questions: &Questions,
        observed: &Observed,
        now: Duration,
    ) -> Result<(), KernelError> {
        let (mut asking, due) = self.wire.questions(questions, observed, now);
        match &self.asker {
            _ if due.is_empty() => {}
            // If it has ended, so will this agent.
            Some(asker) => drop(asker.send(due)),
            None => asking.extend(due),
        }
        if asking.is_empty() {
            return Ok(());
        }
        let (told, result) = asking.ask(kernel);
        self.wire.hear(told, now);
        result
    }

    /// Runs one pass at `now` of the agent's monotonic clock. Never before every source has synced.
    pub fn run<'a>(
        &mut self,
        kernel: &mut dyn Kernel,
        view: View<'a>,
        now: Duration,
    ) -> PassEnd<'a> {
        let mut end = PassEnd {
            outcome: Outcome::default(),
            drift: 0,
            error: None,
            findings: None,
            next: Next::default(),
        };
        let started = Instant::now();
        self.drift.begin();
        let result = self.work(kernel, view, now, &mut end);
        end.next = match &result {
            Err(PassError::RunDir(RunDirError::Busy { .. })) => Next::within(BUSY),
            Err(PassError::Kernel(_) | PassError::RunDir(RunDirError::Ledger(_))) | Ok(()) => {
                Next {
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
        view: View<'a>,
        now: Duration,
        end: &mut PassEnd<'a>,
    ) -> Result<(), PassError> {
        let opened = self.run_dir.open();
        if let Err(error @ RunDirError::Busy { .. }) = opened {
            return Err(error.into());
        }
        let observed = kernel.observe()?;
        let admission = admit(view.snapshot);
        let ledger = match (self.run_dir.ledger(), &opened) {
            (Some(ledger), _) => ledger.clone(),
            // A first start, or somebody deleted it.
            (None, Ok(())) => Ledger::adopt(&observed),
            (None, Err(_)) => assume_ours(&observed, &admission),
        };
        // After the look at the kernel: what has come to the NIC since is known here, and not taken for drift.
        let elected = self.elections.as_ref();
        let elected = elected.map(|elections| elections.elected(&observed, &ledger));
        let asked = questions(
            &self.node,
            view.snapshot,
            &admission,
            &observed,
            elected.as_ref(),
        );
        // An unanswered question is no reason to leave everything else undone: it stays open.
        let sensed = self.sense(kernel, &asked, &observed, now);
        let wire = self.wire.evidence();
        let inputs = Inputs {
            node: &self.node,
            snapshot: view.snapshot,
            admission: &admission,
            observed: &observed,
            ledger: &ledger,
            wire: &wire,
            elected: elected.as_ref(),
            memory: &self.memory,
            now,
        };
        let mut wanted = desired(&inputs);
        if let Some(daemon) = &self.sync {
            synchronise(&mut wanted, daemon, &inputs);
        }
        self.refuse_without_election(&mut wanted, &admission);
        tune(Arc::make_mut(&mut wanted.net), &self.ipvs);
        self.memory = wanted.memory.clone();
        if !view.complete {
            keep_ours(Arc::make_mut(&mut wanted.net), &observed, &ledger);
        }
        let mut plan = plan(&wanted.net, &observed, &ledger);
        add_candidacies(&mut plan.ledger, &wanted, &observed, &ledger);
        let written = match opened {
            Ok(()) => self.run_dir.save(&plan.ledger).map(|_| ()),
            Err(error) => Err(error),
        };
        let mut findings = Findings {
            admission,
            desired: wanted,
            observed,
            ledger: plan.ledger,
            conflicts: BTreeMap::new(),
            moves: Vec::new(),
            kube_proxy: self.kube_proxy.clone(),
            vanished: BTreeSet::new(),
        };
        if written.is_ok() {
            self.leave_to_elections(&mut plan.ops, &findings.desired);
        }
        let acted = match written {
            Ok(()) if plan.ops.is_empty() => Ok(()),
            Ok(()) => self.act(kernel, plan.ops, &mut findings, end, now),
            Err(error) => Err(error.into()),
        };
        let mut rivals = self.wire.rivals(&asked);
        if acted.is_ok() {
            self.hold_elections(view, &findings, now)?;
        }
        if let Some(elections) = &self.elections {
            findings.moves = elections.moves();
        }
        if let Some(elected) = elected {
            rivals.extend(elected.conflicts);
        }
        let with = |claim: &AddressKey, rivals| {
            conflict(claim, rivals, &findings.observed, &wire, view.snapshot)
        };
        findings.conflicts = rivals
            .into_iter()
            .map(|(claim, rivals)| (claim.clone(), with(&claim, rivals)))
            .collect();
        findings.vanished = self.drift.vanished(now);
        if acted.is_ok() && end.outcome.is_complete() {
            self.drift.completed(&findings.desired.net);
        }
        end.findings = Some(findings);
        acted.and(sensed.map_err(PassError::from))
    }

    /// Applies, looks again and trims the ledger to what is there now.
    fn act(
        &mut self,
        kernel: &mut dyn Kernel,
        ops: Vec<Op>,
        findings: &mut Findings<'_>,
        end: &mut PassEnd<'_>,
        now: Duration,
    ) -> Result<(), PassError> {
        let net = &findings.desired.net;
        end.drift = self.drift.count(&ops, net, now);
        // Two looks at a large table need not be in memory together.
        findings.observed = Observed::default();
        end.outcome = execute(kernel, ops);
        self.note_conflicts(&end.outcome, now);
        findings.observed = kernel.observe()?;
        let mut rest = plan(net, &findings.observed, &findings.ledger).ledger;
        add_candidacies(
            &mut rest,
            &findings.desired,
            &findings.observed,
            &findings.ledger,
        );
        self.run_dir.save(&rest)?;
        findings.ledger = rest;
        Ok(())
    }

    fn note_conflicts(&mut self, outcome: &Outcome, now: Duration) {
        for (op, error) in outcome.failures() {
            if let (Op::Probe(key), OpError::Answered { macs, .. }) = (op, error) {
                self.wire.conflict(key.clone(), macs.clone(), now);
            }
        }
    }

    /// Takes out of a plan what the elections do. What nobody wants on a NIC any more leaves it first.
    fn leave_to_elections(&mut self, ops: &mut Vec<Op>, desired: &Desired) {
        let Some(elections) = &mut self.elections else {
            return;
        };
        let unwanted = ops.iter().filter_map(|op| match op {
            Op::DelAddress(key, Role::Held) => Some(key.clone()),
            _ => None,
        });
        let gone = elections.withdraw(unwanted.collect());
        ops.retain(|op| match op {
            Op::Probe(key) | Op::AddAddress(key, Role::Held) | Op::Announce(key) => {
                !is_elected(key.ip)
            }
            Op::DelAddress(key, Role::Held) => !(desired.may_hold(key) || gone.contains(key)),
            _ => true,
        });
    }

    /// Says which VirtualServices cannot be served because the wire cannot be asked.
    fn refuse_without_election(&self, wanted: &mut Desired, admission: &Admission<'_>) {
        let Some(elections) = &self.elections else {
            return;
        };
        for (dev, cause) in elections.troubles() {
            for (key, verdict) in &mut wanted.verdicts {
                let vips = admission.accepted.get(key).map_or(&[][..], |it| &it.vips);
                let concerned = |vip: &IpAddr| wanted.candidacies.get(vip) == Some(&dev);
                if let Some(vip) = vips.iter().find(|vip| concerned(vip)) {
                    let message = format!("{vip} cannot be held on {dev}: {cause}");
                    let refusal = Refusal::new(Reason::KernelRefused, message);
                    verdict.refusal.get_or_insert(refusal);
                }
            }
        }
    }

    /// Tells the elections what there is now.
    fn hold_elections(
        &mut self,
        view: View<'_>,
        findings: &Findings<'_>,
        now: Duration,
    ) -> Result<(), KernelError> {
        let Some(elections) = &mut self.elections else {
            return Ok(());
        };
        let former: Former = self.formers.update(view.snapshot, now);
        let segments = segments(&Sight {
            node: &self.node,
            snapshot: view.snapshot,
            admission: &findings.admission,
            observed: &findings.observed,
            desired: &findings.desired,
            former: &former,
            fresh: view.fresh && view.complete,
        });
        elections.publish(segments).map_err(|error| KernelError {
            doing: "begin the election of a segment".to_owned(),
            cause: error.to_string(),
        })
    }

    /// Whether nothing is on its way out.
    pub fn is_settled(&self) -> bool {
        !self.memory.is_waiting()
    }

    /// When something that waits is due.
    fn deadline(&self, now: Duration, took: Duration) -> Option<Duration> {
        let leaving = self.memory.is_leaving();
        let leaving = leaving.then(|| LEAVING.max(took * LEAVING_SHARE));
        let wire = self.wire.next_due();
        let wire = wire.map(|due| due.saturating_sub(now));
        let absent = self.memory.absent.values().map(|absence| absence.until);
        let absent = absent.min().map(|until| until.saturating_sub(now));
        leaving.into_iter().chain(wire).chain(absent).min()
    }
}

/// A VIP is ours from the moment that it may be claimed: the election does not wait for a pass.
fn add_candidacies(ledger: &mut Ledger, desired: &Desired, observed: &Observed, before: &Ledger) {
    for (vip, dev) in &desired.candidacies {
        let key = AddressKey::new(dev.clone(), *vip);
        let there = observed.net.addresses.contains_key(&key);
        if !there || before.owns_address(&key, observed) {
            ledger.addresses.insert(key);
        }
    }
}
