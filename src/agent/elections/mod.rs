//! The elections of this node's segments, each in a thread of its own, so that a pass that takes seconds does not delay
//! a failover.
//!
//! A pass sends them who should hold which VIP (`publish`) and reads what they hold (`elected`). A `participant` keeps
//! one election going on a NIC, with a `driver` that feeds it frames and time. On a real NIC it runs in a `thread`.

mod driver;
mod participant;
mod round_trip;
mod simulated;
mod status;
mod thread;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    desired::{Segment, Segments},
    election::{ElectionConfig, Timing},
    model::{Dev, Elected, Ledger, Mac, Move, Observed, Role},
};

use participant::Message;
pub use participant::{ElectionParams, Participant};
pub use simulated::{SimulatedElections, pass_time};
pub use status::ElectionStatus;
pub use thread::begin as begin_thread;

/// Starts an election.
type Begin = Box<dyn FnMut(ElectionParams) -> io::Result<()> + Send>;

/// The elections of one agent, as its passes use them.
pub struct Elections {
    timing: Arc<Timing>,
    lifetime: Option<Duration>,
    status: Arc<ElectionStatus>,
    begin: Begin,
    running: BTreeMap<Dev, Running>,
}

impl fmt::Debug for Elections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elections")
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Running {
    index: NonZeroU32,
    mac: Mac,
    config: Arc<ElectionConfig>,
    tell: UnboundedSender<Message>,
}

/// VIPs that elections hold, and on which NICs.
pub type Held = BTreeMap<IpAddr, BTreeSet<Dev>>;

impl Elections {
    /// No election runs yet; `begin` starts one. `lifetime` is how long the kernel keeps a VIP whose agent is gone,
    /// where another director could take it.
    pub fn new(
        timing: Timing,
        lifetime: Option<Duration>,
        status: Arc<ElectionStatus>,
        begin: impl FnMut(ElectionParams) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self {
            timing: Arc::new(timing),
            lifetime,
            status,
            begin: Box::new(begin),
            running: BTreeMap::new(),
        }
    }

    /// How long a director keeps a VIP that it may no longer hold.
    pub fn retire(&self) -> Duration {
        self.timing.retire
    }

    /// The VIPs held now.
    pub fn held(&self) -> Held {
        self.status.elected().held
    }

    /// The state of the elections, in which VIPs that were held `before` the kernel was read count as held, too. So do
    /// VIPs that an earlier agent left on a NIC whose election does not run yet: its thread may take a while to start,
    /// and until then the pass must not take them for VIPs that this node does not hold.
    pub fn elected(&self, before: Held, observed: &Observed, ledger: &Ledger) -> Elected {
        let mut elected = self.status.elected();
        for (vip, devices) in before {
            elected.held.entry(vip).or_default().extend(devices);
        }
        for (key, role) in &observed.net.addresses {
            let left = *role == Role::Held && !elected.running.contains(&key.dev);
            if left && ledger.owns_address(key, observed) {
                let devices = elected.held.entry(key.ip).or_default();
                devices.insert(key.dev.clone());
            }
        }
        elected
    }

    /// VIPs that came to this node, the newest last.
    pub fn moves(&self) -> Vec<Move> {
        self.status.moves()
    }

    /// Begins the elections of new segments, ends those of segments that are gone, and sends changes to the others.
    ///
    /// # Errors
    /// The last election that could not begin. The others run; the next call tries again.
    pub fn publish(&mut self, segments: Segments) -> io::Result<()> {
        let mut outcome = Ok(());
        self.running.retain(|dev, running| {
            let stays = segments.contains_key(dev);
            if !stays {
                running.say(Message::End);
            }
            stays
        });
        for (dev, Segment { index, mac, config }) in segments {
            if let Some(running) = self.running.get_mut(&dev) {
                let is_same = (index, mac) == (running.index, running.mac);
                (running.index, running.mac) = (index, mac);
                if !is_same || running.config != config {
                    running.config = Arc::clone(&config);
                    running.say(if is_same {
                        Message::Config(config)
                    } else {
                        Message::Reopen(config)
                    });
                }
                continue;
            }
            let (tell, inbox) = unbounded_channel();
            let begun = (self.begin)(ElectionParams {
                dev: dev.clone(),
                timing: Arc::clone(&self.timing),
                lifetime: self.lifetime,
                config: Arc::clone(&config),
                status: Arc::clone(&self.status),
                inbox,
            });
            if let Err(error) = begun {
                self.status.problem(&dev, Some(error.to_string()));
                outcome = Err(error);
                continue;
            }
            let running = Running {
                index,
                mac,
                config,
                tell,
            };
            self.running.insert(dev, running);
        }
        outcome
    }
}

impl Running {
    fn say(&self, message: Message) {
        // If this fails, the election has ended, and the status shows that.
        let _ = self.tell.send(message);
    }
}
