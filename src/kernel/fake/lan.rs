use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    kernel::{KernelError, OpError},
    model::{Dev, Mac, Observed, Protocol, ServiceKey},
    plan::Op,
};

use super::{
    apply::{failure, gone},
    errno::Errno,
    log::Event,
    machine::Machine,
    misfortune::Misfortune,
    routing::Path,
    table::Flow,
    trace::{self, Delivery, Loss, Trace},
    world::{Fault, World},
};

type Watcher = Box<dyn FnMut(&FakeLan, &str, &dyn fmt::Display) + Send>;

/// Machines on segments. Clones are the same LAN.
#[derive(Clone, Default)]
pub struct FakeLan {
    world: Arc<Mutex<World>>,
    watchers: Arc<Mutex<Vec<Watcher>>>,
}

impl fmt::Debug for FakeLan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.world().fmt(f)
    }
}

impl FakeLan {
    /// A LAN without machines.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it held the lock left no half-made change behind.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a machine. After every loss of power it boots in the state that it has now.
    pub fn add(&self, name: &str, mut machine: Machine) {
        let mut world = self.world();
        let count = world.machines.len() + 1;
        machine.number(u16::try_from(count).unwrap_or(u16::MAX));
        world.boot.insert(name.to_owned(), machine.clone());
        world.machines.insert(name.to_owned(), machine);
    }

    /// Does something on a machine, as a person with a shell would; `None` if there is no such machine.
    pub fn on<T>(&self, name: &str, act: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        self.world().machines.get_mut(name).map(act)
    }

    /// What a machine's kernel shows, even if its agent was killed.
    pub fn observe(&self, name: &str) -> Result<Observed, KernelError> {
        let observed = self.on(name, |machine| machine.observe());
        observed.unwrap_or_else(|| Err(gone("observe")))
    }

    /// Calls `watcher` after every effect that a kernel accepted, to check what must hold at all times. It may look at
    /// the LAN and send packets, but must not cause effects itself.
    pub fn after_every_effect(
        &self,
        watcher: impl FnMut(&Self, &str, &dyn fmt::Display) + Send + 'static,
    ) {
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(watcher));
    }

    /// Applies an op on a machine; if it is accepted, calls the watchers.
    pub(super) fn apply(&self, name: &str, op: &Op) -> Result<(), OpError> {
        let result = self.world().apply(name, op);
        if result.is_ok() {
            self.happened(name, op);
        }
        result
    }

    /// Runs an effect that is no op; if it is accepted, calls the watchers.
    pub(super) fn effect<T>(
        &self,
        name: &str,
        doing: &str,
        act: impl FnOnce(&mut World) -> T,
    ) -> Result<T, KernelError> {
        let done = self.world().effect(name, &doing, act)?;
        let Some(done) = done else {
            return Err(failure(doing, Errno::Invalid.to_string()));
        };
        self.happened(name, &doing);
        Ok(done)
    }

    fn happened(&self, name: &str, effect: &dyn fmt::Display) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in watchers.iter_mut() {
            watcher(self, name, effect);
        }
    }

    /// How many effects all agents have tried so far.
    pub fn effects(&self) -> u64 {
        self.world().effects.tried
    }

    /// Sets the misfortune to come, if any. It happens at the effect with its number.
    pub fn expect(&self, misfortune: Option<Misfortune>) {
        self.world().effects.misfortune = misfortune;
    }

    /// Whether the machine's agent was killed.
    pub fn is_killed(&self, name: &str) -> bool {
        self.world().killed.contains(name)
    }

    /// Allows a new agent on a machine whose agent was killed.
    pub fn revive(&self, name: &str) {
        self.world().killed.remove(name);
    }

    /// Time since the LAN was created.
    pub fn now(&self) -> Duration {
        self.world().clock
    }

    /// Advances the time to `clock` and removes addresses whose lifetime is over.
    pub fn wait_until(&self, clock: Duration) {
        let mut world = self.world();
        world.clock = world.clock.max(clock);
        let now = world.clock;
        let is_over = |until: Duration| until <= now;
        for machine in world.machines.values_mut() {
            let addresses = &mut machine.addresses;
            addresses.retain(|address| !address.until.is_some_and(is_over));
        }
    }

    /// How many ops this machine's kernel accepted.
    pub fn ops(&self, name: &str) -> u64 {
        self.world().applied.get(name).copied().unwrap_or(0)
    }

    /// Lets `after` more ops of this machine through, then refuses one.
    pub fn fail_op(&self, name: &str, after: u64, errno: Errno) {
        self.world().faults.push(Fault {
            machine: name.to_owned(),
            after,
            errno,
        });
    }

    /// Cancels all faults that [`Self::fail_op`] set.
    pub fn forget_faults(&self) {
        self.world().faults.clear();
    }

    /// Takes a machine's power.
    pub fn power_off(&self, name: &str) {
        self.on(name, |machine| machine.powered = false);
    }

    /// Gives the power back: the machine comes up as it was when it was added.
    pub fn power_on(&self, name: &str) {
        let mut world = self.world();
        if let Some(boot) = world.boot.get(name).cloned() {
            world.machines.insert(name.to_owned(), boot);
        }
    }

    /// Pulls a cable out (`false`) or puts it in again.
    pub fn plug(&self, name: &str, dev: &Dev, plugged: bool) {
        self.on(name, |machine| {
            if let Some(device) = machine.devices.get_mut(dev) {
                device.plugged = plugged;
            }
        });
    }

    /// Puts a cable into another segment.
    pub fn move_cable(&self, name: &str, dev: &Dev, segment: &str) {
        self.on(name, |machine| {
            if let Some(device) = machine.devices.get_mut(dev) {
                device.segment = Some(segment.to_owned());
            }
        });
    }

    /// All frames of address resolution so far.
    pub fn log(&self) -> Vec<Event> {
        self.world().log.clone()
    }

    /// Empties [`Self::log`].
    pub fn clear_log(&self) {
        self.world().log.clear();
    }

    /// The machines that, according to the log, claimed that `ip` is at their MAC: by a reply, an announcement or as
    /// the sender of a request.
    pub fn claimants(&self, ip: IpAddr) -> BTreeSet<String> {
        let world = self.world();
        let claimants = world.log.iter().filter_map(|event| event.claims(ip));
        claimants.map(str::to_owned).collect()
    }

    /// The machines that answer a request by `asker` (`arping -I DEV IP`), whatever is in its cache.
    pub fn who_has(&self, asker: &str, ip: IpAddr) -> Vec<(String, Mac)> {
        let mut world = self.world();
        let Some(machine) = world.machines.get(asker) else {
            return Vec::new();
        };
        let Path::Out { dev, .. } = machine.path(ip) else {
            return Vec::new();
        };
        let sender = machine.source_for(&dev, ip);
        world.ask(asker, &dev, sender, ip)
    }

    /// Lets a machine forget its neighbours (`ip neigh flush all`).
    pub fn forget_neighbours(&self, name: &str) {
        self.on(name, |machine| machine.neighbours.clear());
    }

    /// Opens a connection from machine `client` and follows its first packet.
    pub fn send(&self, client: &str, vip: IpAddr, port: u16, protocol: Protocol) -> Trace {
        let mut world = self.world();
        world.last_port = world.last_port.checked_add(1).unwrap_or(1);
        let source = world.machines.get(client).and_then(|machine| {
            match machine.path(vip) {
                // A machine's connection to itself has one address at both ends.
                Path::Local => Some(vip),
                Path::Out { dev, next } => machine.source_for(&dev, next),
                Path::None => None,
            }
        });
        let flow = |address| Flow {
            client: address,
            client_port: world.last_port,
            service: ServiceKey {
                vip,
                port,
                protocol,
            },
        };
        let Some(source) = source else {
            return Trace {
                flow: flow(vip),
                hops: Vec::new(),
                arp_requests: Vec::new(),
                delivery: Delivery::Lost {
                    at: client.to_owned(),
                    why: Loss::NoRoute(vip),
                },
            };
        };
        let flow = flow(source);
        trace::follow(&mut world, client, flow, true)
    }

    /// Follows another packet of a connection that [`Self::send`] opened.
    pub fn send_more(&self, client: &str, flow: Flow) -> Trace {
        trace::follow(&mut self.world(), client, flow, false)
    }

    /// Ends a connection: the IPVS of every machine forgets it.
    pub fn close(&self, flow: Flow) {
        for machine in self.world().machines.values_mut() {
            if let Some(table) = &mut machine.ipvs {
                table.connections.remove(&flow);
            }
        }
    }
}
