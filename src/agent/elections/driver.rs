//! Runs the election of one segment on a NIC: feeds the pure state machine with frames, addresses and time, and acts.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    election::{Actions, Election, ElectionConfig, Event, Notice, VipState},
    kernel::{KernelError, OpError, RefusalKind, SegmentNic},
    model::{AddressKey, Dev, Role},
    plan::Op,
    wire::Message,
};

use super::{ElectionParams, ElectionStatus, round_trip::RoundTrips};

/// How many frames are read at once before other work.
const FRAMES: usize = 4096;
/// How many times a VIP's lifetime is renewed before it would end.
const RENEWALS: u32 = 4;
/// Looks at a NIC that keeps changing shall not take more than a tenth of the time. Each VIP that is claimed is a change,
/// and with thousands of them a look takes as long as a probe does.
const LOOK_SHARE: u32 = 10;
/// How long a change waits for a look at most.
const LOOK_WAIT: Duration = Duration::from_secs(1);

/// Why an election stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The NIC could not be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The NIC is gone.
    #[error("there is no such device")]
    NoDevice,
}

/// A running election.
#[derive(Debug)]
pub struct Driver<N> {
    dev: Dev,
    config: Arc<ElectionConfig>,
    nic: N,
    election: Election,
    status: Arc<ElectionStatus>,
    wake: Option<Duration>,
    lifetime: Option<Duration>,
    /// When the lifetime of the VIPs is renewed next.
    renewal: Option<Duration>,
    /// Whether the NIC has changed since the last look.
    changed: bool,
    /// Until when a change has to wait for a look.
    looks_from: Duration,
    unsent: Option<String>,
    round_trips: RoundTrips,
}

impl<N: SegmentNic> Driver<N> {
    /// Begins with the VIPs of `params` that an earlier agent left on the NIC; passes remove the VIPs not in `params`.
    pub fn open(mut nic: N, params: &ElectionParams) -> Result<Self, DriverError> {
        let state = nic.look()?.ok_or(DriverError::NoDevice)?;
        let vips = state.vips.iter().copied();
        let held: BTreeSet<IpAddr> = vips
            .filter(|vip| params.config.vips.contains_key(vip))
            .collect();
        params.status.opened(&params.dev, &held);
        let (election, actions) = Election::new(
            Arc::clone(&params.timing),
            Arc::clone(&params.config),
            &held,
            state.carrier,
            nic.now(),
        );
        let mut driver = Self {
            dev: params.dev.clone(),
            config: Arc::clone(&params.config),
            nic,
            election,
            status: Arc::clone(&params.status),
            wake: None,
            lifetime: params.lifetime,
            renewal: Some(Duration::ZERO),
            changed: false,
            looks_from: Duration::ZERO,
            unsent: None,
            round_trips: RoundTrips::default(),
        };
        driver.act(actions);
        Ok(driver)
    }

    /// Its NIC.
    pub fn nic(&self) -> &N {
        &self.nic
    }

    /// When [`Self::work`] has to be called at the latest.
    pub fn due(&self) -> Option<Duration> {
        let due = [self.wake, self.renewal, self.look_due()];
        due.into_iter().flatten().min()
    }

    /// Handles frames that have arrived and does what is due. Returns whether it has read all frames.
    pub fn work(&mut self) -> Result<bool, DriverError> {
        if self.is_due(self.renewal) {
            self.renew()?;
        }
        if self.is_due(self.look_due()) {
            self.look()?;
        }
        let mut all = self.listen()?;
        if self.is_due(self.wake) {
            // An answer that waits in the buffer must not count as silence.
            all = self.listen()?;
            self.event(Event::Tick);
        }
        Ok(all)
    }

    fn look_due(&self) -> Option<Duration> {
        self.changed.then_some(self.looks_from)
    }

    fn is_due(&self, time: Option<Duration>) -> bool {
        time.is_some_and(|time| time <= self.nic.now())
    }

    /// The configuration has changed.
    pub fn config(&mut self, config: Arc<ElectionConfig>) {
        let before = self.lifetime();
        self.config = Arc::clone(&config);
        if self.lifetime() != before {
            self.renewal = Some(Duration::ZERO);
        }
        self.event(Event::Config(config));
    }

    /// The kernel's links or addresses have changed: [`Self::work`] looks at the NIC.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Reads the state of the NIC, which other programs may change, too. The election learns of differences only.
    fn look(&mut self) -> Result<(), DriverError> {
        let began = self.nic.now();
        self.changed = false;
        let state = self.nic.look()?.ok_or(DriverError::NoDevice)?;
        self.event(Event::Carrier(state.carrier));
        let held = self.status.held_on(&self.dev);
        let is_new = |vip: &IpAddr| {
            let known = self.election.vip_state(*vip);
            known.is_some_and(|known| !matches!(known, VipState::Holds { .. }))
        };
        let present: Vec<IpAddr> = state.vips.iter().copied().filter(is_new).collect();
        let gone: BTreeSet<IpAddr> = held.difference(&state.vips).copied().collect();
        self.status.sees(&self.dev, &present, &gone);
        self.event(Event::Nic {
            present,
            absent: gone.into_iter().collect(),
        });
        let now = self.nic.now();
        let others = now.saturating_sub(began) * (LOOK_SHARE - 1);
        self.looks_from = now + others.min(LOOK_WAIT);
        Ok(())
    }

    /// The lifetime of VIPs now: without peers, which could take them over, they stay for ever.
    fn lifetime(&self) -> Option<Duration> {
        self.lifetime.filter(|_| !self.config.peers.is_empty())
    }

    /// Renews the lifetime of the VIPs held, so that the kernel keeps them while this agent runs. One that the kernel has
    /// withdrawn meanwhile, because this agent stood still, is not held any more: another director may have it, and the
    /// kernel adds an address that is to be renewed and not there (`inet_rtm_newaddr`, net/ipv4/devinet.c).
    fn renew(&mut self) -> Result<(), DriverError> {
        self.look()?;
        let lifetime = self.lifetime();
        self.renewal = lifetime.map(|lifetime| self.nic.now() + lifetime / RENEWALS);
        let held = self.status.held_on(&self.dev);
        let results = self.nic.renew(&held, lifetime);
        for error in results.into_iter().filter_map(Result::err) {
            tracing::error!(dev = %self.dev, "the VIP's lifetime was not renewed: {error}");
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<bool, DriverError> {
        let mut frames = Vec::new();
        let all = loop {
            if frames.len() == FRAMES {
                break false;
            }
            match self.nic.receive()? {
                Some(frame) => frames.push(frame),
                None => break true,
            }
        };
        if !frames.is_empty() && self.nic.lost()? > 0 {
            self.event(Event::Missed);
        }
        let read = self.nic.now();
        for heard in frames {
            if let Some((director, after)) = self.round_trips.answered(&heard, read)
                && let Some(known) = self.config.peers.get(&director)
            {
                self.status.answered(&known.name, after);
            }
            self.event(Event::Received(heard));
        }
        Ok(all)
    }

    fn event(&mut self, event: Event) {
        let actions = self.election.handle(event, self.nic.now());
        self.act(actions);
    }

    /// Does what the election wants, and reports the outcome to it, until it wants nothing more.
    fn act(&mut self, actions: Actions) {
        let mut pending = VecDeque::from([actions]);
        while let Some(actions) = pending.pop_front() {
            self.wake = actions.wake;
            for report in &actions.notices {
                let name = self.name_in(report);
                self.status.notice(&self.dev, report, &name);
            }
            if !actions.yields.is_empty() {
                let event = self.give(&actions.yields);
                pending.push_back(self.election.handle(event, self.nic.now()));
            }
            if !actions.claims.is_empty() {
                let event = self.take(&actions.claims, actions.claim_until);
                pending.push_back(self.election.handle(event, self.nic.now()));
            }
            self.send(&actions);
        }
    }

    fn give(&mut self, vips: &BTreeSet<IpAddr>) -> Event {
        let results = self.nic.remove(vips);
        let gone = [RefusalKind::NotThere, RefusalKind::NoDevice];
        let ops = self.ops(vips, Op::DelAddress);
        let (absent, present) = outcome(vips, &ops, results, &gone, "");
        self.settled(present, absent)
    }

    fn take(&mut self, vips: &BTreeSet<IpAddr>, until: Duration) -> Event {
        self.status.takes(&self.dev, vips);
        if self.nic.now() > until {
            // This thread stood still between the decision and now, so the claim counts as failed.
            return self.settled(BTreeSet::new(), vips.clone());
        }
        let lifetime = self.lifetime();
        let results = self.nic.add(vips, lifetime);
        let limit = lifetime.map_or(String::new(), |it| {
            format!(" valid_lft {0} preferred_lft {0}", it.as_secs())
        });
        let ops = self.ops(vips, Op::AddAddress);
        let there = [RefusalKind::AlreadyThere];
        let (present, absent) = outcome(vips, &ops, results, &there, &limit);
        self.settled(present, absent)
    }

    /// The ops as they are logged.
    fn ops(&self, vips: &BTreeSet<IpAddr>, op: fn(AddressKey, Role) -> Op) -> Vec<Op> {
        let key = |vip: &IpAddr| AddressKey::new(self.dev.clone(), *vip);
        vips.iter().map(|vip| op(key(vip), Role::Held)).collect()
    }

    /// Records which VIPs have left the NIC, and returns what the NIC carries now, for the election.
    fn settled(&self, present: BTreeSet<IpAddr>, absent: BTreeSet<IpAddr>) -> Event {
        self.status.gave(&self.dev, &absent);
        Event::Nic {
            present: present.into_iter().collect(),
            absent: absent.into_iter().collect(),
        }
    }

    fn send(&mut self, actions: &Actions) {
        let mut failed = None;
        let mut sent = Vec::new();
        for message in actions.messages() {
            match self.nic.send(self.config.me.0, &message) {
                Ok(frames) => sent.push((message, frames)),
                Err(error) => failed = Some(error),
            }
        }
        self.status.sent(&sent);
        let now = self.nic.now();
        for (message, _) in &sent {
            if let Message::Request(question) = message {
                self.round_trips.asked(question, &self.config, now);
            }
        }
        let failed = failed.map(|error| error.to_string());
        if failed != self.unsent {
            if let Some(error) = &failed {
                tracing::warn!(dev = %self.dev, "frames of the election could not be sent: {error}");
            }
            self.unsent = failed;
        }
    }

    /// The name, for the log, of the director that a notice is about.
    fn name_in(&self, report: &Notice) -> String {
        let director = match report {
            Notice::Peer { director, .. } => Some(*director),
            Notice::Took { from, .. } => *from,
            Notice::Gave { to, .. } => *to,
            Notice::Conflict { director, .. } => *director,
            Notice::MoveRefused { holder, .. } => Some(*holder),
            Notice::ConflictOver { .. } | Notice::Paused(_) => None,
        };
        match director {
            Some(director) => match self.config.peers.get(&director) {
                Some(known) => known.name.to_string(),
                None => director.0.to_string(),
            },
            None => "nobody".to_owned(),
        }
    }
}

/// The VIPs whose op succeeded, and those whose op failed. A refusal of a kind in `already` counts as success, because
/// nothing had to be done. `more` is appended to the log line of an op that was applied.
fn outcome(
    vips: &BTreeSet<IpAddr>,
    ops: &[Op],
    results: Vec<Result<(), OpError>>,
    already: &[RefusalKind],
    more: &str,
) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for ((vip, op), result) in vips.iter().zip(ops).zip(results) {
        match result {
            Ok(()) => {
                tracing::info!(op = op.kind(), "{op}{more}");
                done.insert(*vip);
            }
            Err(error) if is(&error, already) => {
                done.insert(*vip);
            }
            Err(error) => {
                tracing::error!(op = op.kind(), "{error}");
                failed.insert(*vip);
            }
        }
    }
    (done, failed)
}

fn is(error: &OpError, kinds: &[RefusalKind]) -> bool {
    matches!(error, OpError::Refused { kind, .. } if kinds.contains(kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::{
        agent::Trigger,
        election::{DirectorId, PeerConfig, Timing},
        kernel::NicState,
        metrics::Metrics,
        wire::Received,
    };

    /// A NIC whose queue is full.
    #[derive(Debug)]
    struct Full {
        now: Duration,
        /// How long a look takes.
        slow: Duration,
        looks: u32,
    }

    impl SegmentNic for Full {
        fn now(&self) -> Duration {
            self.now
        }

        fn look(&mut self) -> Result<Option<NicState>, KernelError> {
            self.looks += 1;
            self.now += self.slow;
            Ok(Some(NicState {
                carrier: true,
                vips: BTreeSet::new(),
            }))
        }

        fn add(&mut self, _: &BTreeSet<IpAddr>, _: Option<Duration>) -> Vec<Result<(), OpError>> {
            Vec::new()
        }

        fn renew(&mut self, _: &BTreeSet<IpAddr>, _: Option<Duration>) -> Vec<Result<(), OpError>> {
            Vec::new()
        }

        fn remove(&mut self, _: &BTreeSet<IpAddr>) -> Vec<Result<(), OpError>> {
            Vec::new()
        }

        fn send(&mut self, _: IpAddr, _: &Message) -> Result<usize, KernelError> {
            Err(KernelError {
                doing: "send".to_owned(),
                cause: "the queue is full".to_owned(),
            })
        }

        fn receive(&mut self) -> Result<Option<Received>, KernelError> {
            Ok(None)
        }

        fn lost(&mut self) -> Result<u32, KernelError> {
            Ok(0)
        }
    }

    fn driver(slow: Duration) -> (Driver<Full>, Arc<Metrics>) {
        let id = |last| DirectorId(IpAddr::from([10, 0, 0, last]));
        let peer = PeerConfig {
            name: "e".into(),
            mac: None,
        };
        let metrics = Arc::new(Metrics::default());
        let status = ElectionStatus::new(Trigger::default(), Arc::clone(&metrics));
        let (_tell, inbox) = unbounded_channel();
        let params = ElectionParams {
            dev: "eth0".parse().unwrap(),
            timing: Arc::new(Timing::default()),
            lifetime: None,
            config: Arc::new(ElectionConfig {
                me: id(1),
                macs: BTreeSet::new(),
                peers: BTreeMap::from([(id(2), peer)]),
                vips: BTreeMap::new(),
                fresh: true,
            }),
            status: Arc::new(status),
            inbox,
        };
        let nic = Full {
            now: Duration::from_secs(1),
            slow,
            looks: 0,
        };
        (Driver::open(nic, &params).unwrap(), metrics)
    }

    #[test]
    fn frames_that_the_nic_refuses_do_not_count_as_sent() {
        let (mut driver, metrics) = driver(Duration::ZERO);
        driver.work().unwrap();
        let unsent = driver.unsent.as_deref();
        assert!(
            unsent.is_some_and(|it| it.contains("the queue is full")),
            "{unsent:?}"
        );
        let text = metrics.encode();
        assert!(
            !text.contains("directway_election_frames_sent_total{"),
            "{text}"
        );
    }

    #[test]
    fn a_nic_that_changes_all_the_time_is_looked_at_for_a_tenth_of_the_time() {
        let (mut driver, _) = driver(Duration::from_millis(50));
        driver.work().unwrap();
        driver.nic.now += Duration::from_secs(1);
        let (began, looks) = (driver.nic.now, driver.nic.looks);
        // The first change is looked at at once.
        driver.changed();
        driver.work().unwrap();
        assert_eq!(driver.nic.looks, looks + 1);
        while driver.nic.now < began + Duration::from_secs(10) {
            driver.changed();
            driver.work().unwrap();
            driver.nic.now += Duration::from_millis(1);
        }
        let looks = driver.nic.looks - looks;
        assert!((19..=21).contains(&looks), "{looks} looks in 10 s");
    }
}
