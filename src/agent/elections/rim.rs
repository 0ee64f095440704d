//! The election of one segment on its real NIC: frames, addresses and the clock around a pure machine.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc::UnboundedReceiver, watch},
    time::sleep,
};

use crate::{
    election::{Actions, Election, Event, Report, Timing, View},
    kernel::{
        Kernel, KernelError, OpError, RefusalKind,
        linux::{Linux, packet::LinkSocket},
    },
    model::{AddressKey, Dev, Role},
    plan::Op,
    wire::{Family, Heard, Unsupported},
};

use super::{Board, clock::boot_time, round_trip::RoundTrips};

/// Frames that are taken at once before anything else gets its turn.
const FRAMES: usize = 4096;
/// How long to sleep for want of anything to do.
const IDLE: Duration = Duration::from_secs(60);
/// How often a VIP's lifetime is renewed within it.
const RENEWALS: u32 = 4;
/// How soon to try again to open what cannot be opened.
const RETRY: Duration = Duration::from_secs(1);

/// What a thread is told.
#[derive(Debug)]
pub enum Message {
    /// The sources say something else than before, or the passes have done something.
    View(Arc<View>),
    /// The NIC is another one than before.
    Reopen(Arc<View>),
    /// The election on this NIC is over; nothing is touched.
    End,
}

/// What a thread needs.
pub struct Seat {
    /// The NIC.
    pub dev: Dev,
    /// Timers.
    pub timing: Arc<Timing>,
    /// How long the kernel keeps a VIP whose agent is gone, where another director could take it; `None` = for ever.
    pub lifetime: Option<Duration>,
    /// What is known at first.
    pub view: Arc<View>,
    /// Where results go.
    pub board: Arc<Board>,
    /// What is known later.
    pub inbox: UnboundedReceiver<Message>,
    /// The kernel's links or addresses changed.
    pub nudges: watch::Receiver<()>,
}

impl Seat {
    /// Takes part in the election until told to end.
    pub async fn run(mut self) {
        loop {
            match Rim::open(&self) {
                Ok(rim) => {
                    let end = rim.run(&mut self).await;
                    self.board.closed(&self.dev);
                    match end {
                        Ok(End::Over) => break,
                        Ok(End::Reopen) => continue,
                        Err(error) => self.board.trouble(&self.dev, Some(error.to_string())),
                    }
                }
                Err(error) => self.board.trouble(&self.dev, Some(error.to_string())),
            }
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(Message::View(view) | Message::Reopen(view)) => self.view = view,
                    Some(Message::End) | None => break,
                },
                () = sleep(RETRY) => {}
            }
        }
        self.board.ended(&self.dev);
    }
}

/// How an election ended.
enum End {
    Over,
    Reopen,
}

/// Why an election stopped.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("packet socket: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Family(#[from] Unsupported),
    #[error("there is no such device")]
    NoDevice,
}

struct Rim {
    dev: Dev,
    view: Arc<View>,
    socket: AsyncFd<LinkSocket>,
    kernel: Linux,
    election: Election,
    board: Arc<Board>,
    wake: Option<Duration>,
    lifetime: Option<Duration>,
    /// When the VIPs are given their lifetime again.
    renewal: Option<Duration>,
    unsent: Option<String>,
    round_trips: RoundTrips,
}

impl Rim {
    fn open(seat: &Seat) -> Result<Self, Trouble> {
        let mut kernel = Linux::open()?;
        let socket = kernel.listen(&seat.dev, Family::of(seat.view.me.0)?)?;
        socket.never_wait()?;
        let socket = register(socket)?;
        let nic = kernel.nic(&seat.dev)?.ok_or(Trouble::NoDevice)?;
        // From here on nothing fails. What an earlier agent left; the rest is for the passes to remove.
        let vips = nic.vips.iter().copied();
        let held: BTreeSet<IpAddr> = vips
            .filter(|vip| seat.view.vips.contains_key(vip))
            .collect();
        seat.board.opened(&seat.dev, &held);
        let carrier = nic.link.up && nic.link.carrier;
        let (election, actions) = Election::new(
            Arc::clone(&seat.timing),
            Arc::clone(&seat.view),
            &held,
            carrier,
            boot_time(),
        );
        let mut rim = Self {
            dev: seat.dev.clone(),
            view: Arc::clone(&seat.view),
            socket,
            kernel,
            election,
            board: Arc::clone(&seat.board),
            wake: None,
            lifetime: seat.lifetime,
            renewal: Some(Duration::ZERO),
            unsent: None,
            round_trips: RoundTrips::default(),
        };
        rim.act(actions);
        Ok(rim)
    }

    async fn run(mut self, seat: &mut Seat) -> Result<End, Trouble> {
        loop {
            let now = boot_time();
            let due = self.wake.into_iter().chain(self.renewal).min();
            let wait = due.map_or(IDLE, |due| due.saturating_sub(now));
            let mut frames = Vec::new();
            tokio::select! {
                message = seat.inbox.recv() => match message {
                    Some(Message::View(view)) => {
                        seat.view = Arc::clone(&view);
                        self.sees(view);
                    }
                    Some(Message::Reopen(view)) => {
                        seat.view = view;
                        return Ok(End::Reopen);
                    }
                    Some(Message::End) | None => return Ok(End::Over),
                },
                // If the sender is gone, so is the agent.
                Ok(()) = seat.nudges.changed() => self.look()?,
                ready = self.socket.readable() => {
                    let mut ready = ready?;
                    if drain(ready.get_inner(), &mut frames)? {
                        ready.clear_ready();
                    }
                }
                () = sleep(wait) => {}
            }
            self.listen(frames)?;
            // An answer that waits in the buffer must not count as silence.
            if self.wake.is_some_and(|wake| wake <= boot_time()) {
                let mut frames = Vec::new();
                drain(self.socket.get_ref(), &mut frames)?;
                self.listen(frames)?;
                self.event(Event::Tick);
            }
            if self.renewal.is_some_and(|renewal| renewal <= boot_time()) {
                self.renew();
            }
        }
    }

    /// The lifetime of VIPs now: where nobody could take them over, they stay.
    fn lifetime(&self) -> Option<Duration> {
        self.lifetime.filter(|_| !self.view.peers.is_empty())
    }

    /// Tells the kernel that this agent is there: what is held stays for another lifetime.
    fn renew(&mut self) {
        let lifetime = self.lifetime();
        self.renewal = lifetime.map(|lifetime| boot_time() + lifetime / RENEWALS);
        let held = self.board.held_on(&self.dev);
        let results = self.kernel.renew_lifetime(&self.dev, &held, lifetime);
        for error in results.into_iter().filter_map(Result::err) {
            tracing::error!(dev = %self.dev, "the VIP's lifetime was not renewed: {error}");
        }
    }

    fn listen(&mut self, frames: Vec<Heard>) -> Result<(), Trouble> {
        if !frames.is_empty() && self.socket.get_ref().lost()? > 0 {
            self.event(Event::Missed);
        }
        let read = boot_time();
        for heard in frames {
            if let Some((director, after)) = self.round_trips.answered(&heard, read)
                && let Some(known) = self.view.peers.get(&director)
            {
                self.board.answered(&known.name, after);
            }
            self.event(Event::Heard(heard));
        }
        Ok(())
    }

    fn sees(&mut self, view: Arc<View>) {
        let before = self.lifetime();
        self.view = Arc::clone(&view);
        if self.lifetime() != before {
            self.renewal = Some(Duration::ZERO);
        }
        self.event(Event::View(view));
    }

    /// Looks at the NIC, which others may change, too.
    fn look(&mut self) -> Result<(), Trouble> {
        let nic = self.kernel.nic(&self.dev)?.ok_or(Trouble::NoDevice)?;
        self.event(Event::Carrier(nic.link.up && nic.link.carrier));
        let held = self.board.held_on(&self.dev);
        let known = |vip: &IpAddr| self.election.place(*vip).is_some();
        let present: Vec<IpAddr> = nic.vips.iter().copied().filter(known).collect();
        let gone: BTreeSet<IpAddr> = held.difference(&nic.vips).copied().collect();
        self.board.sees(&self.dev, &present, &gone);
        self.event(Event::Nic {
            present,
            absent: gone.into_iter().collect(),
        });
        Ok(())
    }

    fn event(&mut self, event: Event) {
        let actions = self.election.handle(event, boot_time());
        self.act(actions);
    }

    /// Does what the election wants, and tells it the outcome, until it wants nothing more.
    fn act(&mut self, actions: Actions) {
        let mut pending = VecDeque::from([actions]);
        while let Some(actions) = pending.pop_front() {
            self.wake = actions.wake;
            for report in &actions.reports {
                let name = self.name_in(report);
                self.board.report(&self.dev, report, &name);
            }
            if !actions.yields.is_empty() {
                let event = self.give(&actions.yields);
                pending.push_back(self.election.handle(event, boot_time()));
            }
            if !actions.claims.is_empty() {
                let event = self.take(&actions.claims, actions.claim_until);
                pending.push_back(self.election.handle(event, boot_time()));
            }
            self.send(&actions);
        }
    }

    fn give(&mut self, vips: &BTreeSet<IpAddr>) -> Event {
        let ops = self.ops(vips, Op::DelAddress);
        let results = self.kernel.apply(&ops);
        let gone = [RefusalKind::NotThere, RefusalKind::NoDevice];
        let (absent, present) = outcome(vips, &ops, results, &gone, "");
        self.settled(present, absent)
    }

    fn take(&mut self, vips: &BTreeSet<IpAddr>, until: Duration) -> Event {
        self.board.takes(&self.dev, vips);
        if boot_time() > until {
            // This thread stood still between the decision and now.
            return self.settled(BTreeSet::new(), vips.clone());
        }
        let ops = self.ops(vips, Op::AddAddress);
        let lifetime = self.lifetime();
        let results = self.kernel.add_held(&self.dev, vips, lifetime);
        let limit = lifetime.map_or(String::new(), |it| {
            format!(" valid_lft {0} preferred_lft {0}", it.as_secs())
        });
        let there = [RefusalKind::AlreadyThere];
        let (present, absent) = outcome(vips, &ops, results, &there, &limit);
        self.settled(present, absent)
    }

    fn ops(&self, vips: &BTreeSet<IpAddr>, op: fn(AddressKey, Role) -> Op) -> Vec<Op> {
        let key = |vip: &IpAddr| AddressKey::new(self.dev.clone(), *vip);
        vips.iter().map(|vip| op(key(vip), Role::Held)).collect()
    }

    /// Tells the board, and the election, what the NIC carries now.
    fn settled(&self, present: BTreeSet<IpAddr>, absent: BTreeSet<IpAddr>) -> Event {
        self.board.gave(&self.dev, &absent);
        Event::Nic {
            present: present.into_iter().collect(),
            absent: absent.into_iter().collect(),
        }
    }

    fn send(&mut self, actions: &Actions) {
        let mut failed = None;
        for message in actions.messages() {
            let own = Some(self.view.me.0);
            if let Err(error) = self.socket.get_ref().send(own, &message) {
                failed = Some(error.to_string());
            }
        }
        self.board.sent(actions);
        let sent = boot_time();
        for question in &actions.questions {
            self.round_trips.asked(question, &self.view, sent);
        }
        if failed != self.unsent {
            if let Some(error) = &failed {
                tracing::warn!(dev = %self.dev, "frames of the election could not be sent: {error}");
            }
            self.unsent = failed;
        }
    }

    /// Whom a report is about, for people.
    fn name_in(&self, report: &Report) -> String {
        let director = match report {
            Report::Peer { director, .. } => Some(*director),
            Report::Took { from, .. } => *from,
            Report::Gave { to, .. } => *to,
            Report::Conflict { director, .. } => *director,
            Report::MoveRefused { holder, .. } => Some(*holder),
            Report::ConflictOver { .. } | Report::Paused(_) => None,
        };
        match director {
            Some(director) => match self.view.peers.get(&director) {
                Some(known) => known.name.to_string(),
                None => director.0.to_string(),
            },
            None => "nobody".to_owned(),
        }
    }
}

/// Has the runtime tell when frames have arrived.
#[allow(unsafe_code)]
fn register(socket: LinkSocket) -> io::Result<AsyncFd<LinkSocket>> {
    // SAFETY: the socket owns its descriptor, which stays the same and open until the socket is dropped, with the
    // registration before it.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(Into::into)
}

/// Takes frames that have arrived; tells whether those were all.
fn drain(socket: &LinkSocket, frames: &mut Vec<Heard>) -> io::Result<bool> {
    while frames.len() < FRAMES {
        match socket.try_receive() {
            Ok(heard) => frames.push(heard),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            // Told once, when the NIC goes down; it may come up again.
            Err(error) if error.kind() == io::ErrorKind::NetworkDown => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// For which VIPs ops were done, one each, and for which not. A refusal of a kind in `already` says that nothing had to be done; what
/// was done is told with `more` behind its line.
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
                tracing::error!(op = op.kind(), "{op}: {error}");
                failed.insert(*vip);
            }
        }
    }
    (done, failed)
}

fn is(error: &OpError, kinds: &[RefusalKind]) -> bool {
    matches!(error, OpError::Refused { kind, .. } if kinds.contains(kind))
}
