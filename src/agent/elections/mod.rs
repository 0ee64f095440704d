//! The elections of this node's segments, each in a thread of its own: a pass that takes seconds must not keep a VIP from
//! failing over.

mod board;
mod clock;
mod rim;
mod round_trip;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    watch,
};

use crate::{
    desired::{Segment, Segments},
    election::{Timing, View},
    model::{AddressKey, Dev, Elected, Ledger, Mac, Move, Observed, Role},
};

pub use board::Board;
use rim::{Message, Seat};

/// How long a pass waits for VIPs that nobody wants any more to leave their NIC; then it removes them itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// What passes have to do with the elections.
#[derive(Debug)]
pub struct Elections {
    timing: Arc<Timing>,
    lifetime: Option<Duration>,
    board: Arc<Board>,
    nudges: watch::Receiver<()>,
    running: BTreeMap<Dev, Running>,
}

#[derive(Debug)]
struct Running {
    index: NonZeroU32,
    mac: Mac,
    view: Arc<View>,
    tell: UnboundedSender<Message>,
}

impl Elections {
    /// None is held yet. `lifetime` is how long the kernel keeps a VIP whose agent is gone, where another director could
    /// take it; `nudges` tell that the kernel's links or addresses changed.
    pub fn new(
        timing: Timing,
        lifetime: Option<Duration>,
        board: Arc<Board>,
        nudges: watch::Receiver<()>,
    ) -> Self {
        Self {
            timing: Arc::new(timing),
            lifetime,
            board,
            nudges,
            running: BTreeMap::new(),
        }
    }

    /// Who holds what here. Where no election is held yet, that is what an earlier agent left. Its thread may need a while
    /// to begin: until then, a VIP that it does not speak of is not one that nobody holds.
    pub fn elected(&self, observed: &Observed, ledger: &Ledger) -> Elected {
        let (mut elected, open) = self.board.elected();
        for (key, role) in &observed.net.addresses {
            let left = *role == Role::Held && !open.contains(&key.dev);
            if left && ledger.owns_address(key, observed) {
                let devices = elected.held.entry(key.ip).or_default();
                devices.insert(key.dev.clone());
            }
        }
        elected
    }

    /// VIPs that came to this node, the newest last.
    pub fn moves(&self) -> Vec<Move> {
        self.board.moves()
    }

    /// Why elections cannot be held.
    pub fn troubles(&self) -> BTreeMap<Dev, String> {
        self.board.troubles()
    }

    /// Has VIPs leave their NIC that nobody wants there any more, and waits for that. Returns those that an election has
    /// taken off; the others are the caller's business.
    pub fn withdraw(&mut self, mut vips: BTreeSet<AddressKey>) -> BTreeSet<AddressKey> {
        vips = self.board.held_of(&vips);
        if vips.is_empty() {
            return vips;
        }
        for (dev, running) in &mut self.running {
            let view = Arc::make_mut(&mut running.view);
            let before = view.vips.len();
            view.vips
                .retain(|vip, _| !vips.contains(&AddressKey::new(dev.clone(), *vip)));
            if view.vips.len() < before {
                running.say(Message::View(Arc::clone(&running.view)));
            }
        }
        self.board.wait_until_given(&vips, PATIENCE);
        let held = self.board.held_of(&vips);
        &vips - &held
    }

    /// Tells the elections what to know; begins and ends them.
    pub fn publish(&mut self, segments: Segments) -> std::io::Result<()> {
        self.running.retain(|dev, running| {
            let stays = segments.contains_key(dev);
            if !stays {
                running.say(Message::End);
            }
            stays
        });
        for (dev, Segment { index, mac, view }) in segments {
            if let Some(running) = self.running.get_mut(&dev) {
                let is_same = (index, mac) == (running.index, running.mac);
                (running.index, running.mac) = (index, mac);
                if !is_same || running.view != view {
                    running.view = Arc::clone(&view);
                    running.say(if is_same {
                        Message::View(view)
                    } else {
                        Message::Reopen(view)
                    });
                }
                continue;
            }
            let (tell, inbox) = unbounded_channel();
            let seat = Seat {
                dev: dev.clone(),
                timing: Arc::clone(&self.timing),
                lifetime: self.lifetime,
                view: Arc::clone(&view),
                board: Arc::clone(&self.board),
                inbox,
                nudges: self.nudges.clone(),
            };
            begin(seat)?;
            let running = Running {
                index,
                mac,
                view,
                tell,
            };
            self.running.insert(dev, running);
        }
        Ok(())
    }
}

impl Running {
    fn say(&self, message: Message) {
        // A thread that has ended has said so on the board.
        let _ = self.tell.send(message);
    }
}

/// Starts the thread of one election.
fn begin(seat: Seat) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let name = format!("vips-{}", seat.dev);
    let thread = std::thread::Builder::new().name(name);
    // It ends when it is told to, or with the agent.
    thread.spawn(move || runtime.block_on(seat.run())).map(drop)
}
