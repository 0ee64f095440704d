use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    health::{self, Health},
    model::{
        AddressKey, Dev, Elected, Interfaces, IpvsSetting, Ledger, Link, NodeName, NodeNet,
        Observed, Peers, Reason, Refusal, Reserved, Role, Service, ServiceKey, Snapshot,
        SyncDaemon, VipDevices, VirtualService, VsKey, WireEvidence,
    },
};

use super::{
    Admission, DrainTimers, RealServerId, RealServerSet, RealServerStates, RecentDirectors,
    Viewpoint, bind, director, directors,
    health::checked,
    keep, may_hold,
    quiet::{quiet_nics, unanswered},
    real_servers::RealServerSets,
    rivals::{self, Unbound},
    sync,
};

/// All that one node's decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// The content of the sources.
    pub snapshot: &'a Snapshot,
    /// Whether the snapshot is complete. If a manifest could never be read, it is not, and nothing of ours is removed.
    pub complete: bool,
    /// Which VirtualServices are served, from [`super::admit`].
    pub admission: &'a Admission<'a>,
    /// What the node's administrator has configured.
    pub options: &'a NodeOptions,
    /// What the kernel shows.
    pub observed: &'a Observed,
    /// What directway added or changed.
    pub ledger: &'a Ledger,
    /// Addresses that this node must not bind, from [`super::reserved`].
    pub reserved: &'a Reserved,
    /// What ARP requests found out.
    pub wire: &'a WireEvidence,
    /// What health checks found out.
    pub health: Health<'a>,
    /// Which VIPs the elections of this node's NICs hold.
    pub elected: &'a Elected,
    /// Nodes that are directors, or were lately.
    pub former: &'a RecentDirectors,
    /// What the last pass remembered.
    pub timers: &'a DrainTimers,
    /// The agent's monotonic clock.
    pub now: Duration,
}

/// Settings that a node has for as long as it has services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// Settings of IPVS (`net.ipv4.vs.*`).
    pub ipvs: BTreeMap<IpvsSetting, u32>,
    /// How the node exchanges connections with other directors; `None` = not at all.
    pub sync: Option<SyncDaemon>,
    /// Which devices may carry VIPs.
    pub vip_devices: VipDevices,
}

/// What one node should have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Its network.
    pub net: Arc<NodeNet>,
    /// The state of each VirtualService in which this node has a part.
    pub virtual_services: BTreeMap<VsKey, VirtualServiceState>,
    /// VIPs that an election of this node holds although this node should not any more. Their services stay until the
    /// election has taken them from the NIC.
    pub yielding: BTreeSet<AddressKey>,
    /// Services that this director may not have, such as those that are another program's.
    pub refused_services: BTreeSet<ServiceKey>,
    /// VIPs of which something stays only because the snapshot is not complete.
    pub held_back: BTreeSet<IpAddr>,
    /// The health checks on which its services depend.
    pub checks: health::Wanted,
    /// How the real servers are reached whose direct path is checked.
    pub paths: BTreeMap<IpAddr, health::Path>,
    /// What health checks say of real servers, each once.
    pub failures: BTreeSet<Arc<Refusal>>,
    /// Real servers that may have another MAC by now, because nothing answers at the known one.
    pub doubtful: BTreeSet<IpAddr>,
    /// For users: why some things are not done.
    pub notes: Vec<String>,
    /// To be given to the next pass.
    pub timers: DrainTimers,
}

impl Desired {
    /// Whether this address stays only until no director sends packets for it. The agent no longer reports it as
    /// bound: a director that read that late would send packets to a node without the VIP.
    pub fn is_leaving(&self, key: &AddressKey) -> bool {
        self.timers.unwanted.contains_key(key)
    }
}

/// A VirtualService as one node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualServiceState {
    /// What keeps this node from its part; `None` = nothing.
    pub refusal: Option<Refusal>,
    /// Whether this node is one of its real servers.
    pub is_real_server: bool,
    /// Per VIP on this director its real servers' states. No map, because there are 10,000 of these, with one or two
    /// VIPs each.
    pub real_servers: Vec<(IpAddr, RealServerStates)>,
    /// Destinations that left the spec and keep their connections.
    pub draining: BTreeSet<IpAddr>,
}

impl VirtualServiceState {
    /// The real servers of `vip`, if it is on this director.
    pub fn real_servers_of(&self, vip: IpAddr) -> Option<&RealServerStates> {
        let found = self.real_servers.iter().find(|(of, _)| *of == vip);
        found.map(|(_, real_servers)| real_servers)
    }
}

/// What `inputs.node` should have. Pure: the same inputs give the same answer.
pub fn desired(inputs: &Inputs<'_>) -> Desired {
    let mut desired = Desired::default();
    let viewpoint = Viewpoint::new(inputs.node, inputs.observed);
    let mut sets = RealServerSets::new(inputs.snapshot, viewpoint);
    let wanted = inputs.admission.accepted.iter();
    for (key, virtual_service) in wanted.filter(|_| inputs.snapshot.undo.is_none()) {
        if let Some(vs_state) = serve(virtual_service, inputs, &mut sets, &mut desired) {
            desired.virtual_services.insert((*key).clone(), vs_state);
        }
    }
    if inputs.complete {
        keep::until_yielded(inputs, &mut desired);
    }
    let Desired {
        net, notes, timers, ..
    } = &mut desired;
    bind::keep_while_directed(inputs, Arc::make_mut(net), timers, notes);
    refuse_without_election(&mut desired, inputs);
    if !desired.net.services.is_empty() {
        sync::synchronise(&mut desired, inputs);
        let net = Arc::make_mut(&mut desired.net);
        net.ipvs.clone_from(&inputs.options.ipvs);
    }
    note_unanswered(&mut desired, inputs);
    if !inputs.complete {
        let net = Arc::make_mut(&mut desired.net);
        desired.held_back = keep::all_of_ours(net, inputs.observed, inputs.ledger);
    }
    desired
}

/// Notes the node's own addresses that fall silent on a NIC because it is made quiet.
fn note_unanswered(desired: &mut Desired, inputs: &Inputs<'_>) {
    let quiet = &desired.net.arp;
    if quiet.is_empty() {
        return;
    }
    let observed = inputs.observed;
    let is_vip = |key: &AddressKey| {
        desired.net.addresses.contains_key(key) || inputs.ledger.owns_address(key, observed)
    };
    let silent = unanswered(observed, is_vip).into_iter();
    let silent = silent.filter(|it| quiet.contains_key(&it.asked_on));
    desired.notes.extend(silent.map(|it| it.to_string()));
}

/// Adds this node's part in a VirtualService; `None` if it has none.
fn serve<'a>(
    virtual_service: &'a VirtualService,
    inputs: &Inputs<'_>,
    sets: &mut RealServerSets<'a>,
    desired: &mut Desired,
) -> Option<VirtualServiceState> {
    let may_hold = may_hold(virtual_service, inputs.node, inputs.snapshot);
    let is_director = may_hold || holds(virtual_service, inputs.elected);
    let mut vs_state = VirtualServiceState::default();
    let mut has_part = is_director;
    for vip in &virtual_service.vips {
        let real_servers = sets.get(virtual_service, *vip);
        let me = RealServerId::Node(inputs.node.clone());
        vs_state.is_real_server |= real_servers
            .by_address
            .values()
            .any(|real_server| real_server.id == me);
        has_part |= vs_state.is_real_server;
        if let Some(refusal) = real_servers.refused.get(inputs.node) {
            has_part = true;
            vs_state.refusal.get_or_insert_with(|| refusal.clone());
        }
        let part = Part {
            virtual_service,
            vip: *vip,
            real_servers: &real_servers,
            is_director,
            may_hold,
        };
        // A VIP that cannot be served does not affect the other family's.
        if let Err(refusal) = part.serve(inputs, &mut vs_state, desired) {
            vs_state.refusal.get_or_insert(refusal);
        }
    }
    has_part.then_some(vs_state)
}

/// Whether `node` has the services of `virtual_service`: as a director that may hold its VIPs, or as one that no longer may
/// and serves them until its successor does.
pub(super) fn directs(
    virtual_service: &VirtualService,
    node: &NodeName,
    snapshot: &Snapshot,
    elected: &Elected,
) -> bool {
    may_hold(virtual_service, node, snapshot) || holds(virtual_service, elected)
}

/// Whether this node holds any of the VIPs of `virtual_service`.
fn holds(virtual_service: &VirtualService, elected: &Elected) -> bool {
    let vips = virtual_service.vips.iter();
    let mut devices = vips.filter_map(|vip| elected.held.get(vip)).flatten();
    // On a NIC that is the quiet device, a VIP is bound, not held.
    devices.any(|dev| *dev != virtual_service.real_servers.device)
}

/// Refuses the VirtualServices whose VIPs cannot be held because the election on their NIC cannot run.
fn refuse_without_election(desired: &mut Desired, inputs: &Inputs<'_>) {
    for (dev, cause) in &inputs.elected.problems {
        for (key, vs_state) in &mut desired.virtual_services {
            let accepted = inputs.admission.accepted.get(key);
            let mut vips = accepted.into_iter().flat_map(|it| &it.vips);
            let claims = &desired.net.claims;
            let is_claim = |vip: &IpAddr| claims.contains(&AddressKey::new(dev.clone(), *vip));
            if let Some(vip) = vips.find(|vip| is_claim(vip)) {
                let message = format!("{vip} cannot be held on {dev}: {cause}");
                let refusal = Refusal::new(Reason::KernelRefused, message);
                vs_state.refusal.get_or_insert(refusal);
            }
        }
    }
}

/// A node's part in serving one VIP.
#[derive(Clone, Copy)]
struct Part<'a> {
    virtual_service: &'a VirtualService,
    vip: IpAddr,
    real_servers: &'a RealServerSet,
    /// Whether it has the services.
    is_director: bool,
    /// Whether it may hold the VIP.
    may_hold: bool,
}

impl Part<'_> {
    fn interface(&self) -> Option<&Interfaces> {
        self.virtual_service.directors.interface.as_ref()
    }

    /// Directors that can serve the VIP and real servers carry it quietly.
    ///
    /// A VIP that nobody can serve, or that a stranger has, is bound nowhere: it would only keep the node from the host that
    /// has the address. What is bound stays, because directors may send packets for it even while none is known.
    fn serve(
        &self,
        inputs: &Inputs<'_>,
        vs_state: &mut VirtualServiceState,
        desired: &mut Desired,
    ) -> Result<(), Refusal> {
        let nic = self.is_director.then(|| self.clients_nic(inputs, desired));
        let nic = nic.transpose();
        let directs = matches!(nic, Ok(Some(_)));
        let is_real_server = vs_state.is_real_server;
        let stays = (self.is_director || is_real_server) && self.has_it(inputs);
        let carries = stays || (is_real_server && self.has_director(inputs));
        let free = match directs && !carries {
            true => rivals::is_free(self.vip, inputs),
            false => Ok(()),
        };
        if let Err(unbound) = free {
            self.wait(unbound, inputs, desired)?;
        } else if directs || carries {
            self.carry(inputs, vs_state, desired)?;
        } else if is_real_server {
            desired.notes.push(format!(
                "{}: not bound, because no director can serve it so far",
                self.vip
            ));
        }
        if let Some(nic) = nic? {
            // A standby that is also a real server would schedule the holder's packets again, because IPVS hooks
            // LOCAL_IN before the socket. IPVS also takes what this node itself sends to a stranger (LOCAL_OUT).
            let warm = !vs_state.is_real_server && free.is_ok();
            self.direct(nic, warm, inputs, vs_state, desired);
        }
        Ok(())
    }

    /// Where this director would hold the VIP, if it can serve it.
    fn clients_nic<'b>(
        &self,
        inputs: &Inputs<'b>,
        desired: &mut Desired,
    ) -> Result<&'b Link, Refusal> {
        director::may_serve(self.virtual_service, self.vip, inputs).inspect_err(|_| {
            let services = self.virtual_service.services_of(self.vip);
            desired.refused_services.extend(services);
        })?;
        let nic = director::clients_nic(self.interface(), self.vip, inputs.observed)?;
        if !self.has_it(inputs) {
            director::may_claim(self.virtual_service, self.vip, nic, inputs)?;
        }
        Ok(nic)
    }

    /// Whether this node has the VIP, held or bound.
    fn has_it(&self, inputs: &Inputs<'_>) -> bool {
        inputs.elected.held.contains_key(&self.vip)
            || inputs.ledger.has_bound(self.vip, inputs.observed)
    }

    /// The VIP may be a stranger's. While one answers, this director is quiet and takes part in the election, which may find
    /// that the answer was wrong, but has neither the VIP nor its services before it holds it.
    fn wait(
        &self,
        unbound: Unbound,
        inputs: &Inputs<'_>,
        desired: &mut Desired,
    ) -> Result<(), Refusal> {
        let vip = self.vip;
        match unbound {
            Unbound::NotProbed => Err(Refusal::new(
                Reason::Pending,
                format!("not bound, because nobody has been asked for {vip} yet"),
            )),
            Unbound::Stranger(stranger) => {
                let net = Arc::make_mut(&mut desired.net);
                bind::prepare(vip, self.interface(), &Dev::lo(), inputs, net)?;
                let note = format!("{vip}: not bound, because {stranger} answers for it");
                desired.notes.push(note);
                Ok(())
            }
        }
    }

    /// Whether another director can serve the VIP. One that can has bound it, and reports that; where none can report,
    /// it is enough that there is one.
    fn has_director(&self, inputs: &Inputs<'_>) -> bool {
        let snapshot = inputs.snapshot;
        let mut others = directors(self.virtual_service, snapshot).filter(|it| *it != inputs.node);
        match snapshot.peers {
            Peers::Silent => others.next().is_some(),
            Peers::Reported(_) => others.any(|name| snapshot.has_as_vip(name, self.vip)),
        }
    }

    fn carry(
        &self,
        inputs: &Inputs<'_>,
        vs_state: &mut VirtualServiceState,
        desired: &mut Desired,
    ) -> Result<(), Refusal> {
        let policy = &self.virtual_service.real_servers;
        let (device, host_route) = if vs_state.is_real_server {
            (policy.device.clone(), policy.host_route)
        } else {
            (Dev::lo(), false)
        };
        let net = Arc::make_mut(&mut desired.net);
        let carried = bind::carry(self.vip, self.interface(), &device, host_route, inputs, net);
        if let Err(refusal) = carried {
            // A device that is refused does not take the VIP from another one: what was served goes on being served.
            let is_kept = bind::is_of_device(&refusal)
                && keep::on_other_devices(self.vip, &device, inputs, net, &mut desired.notes);
            if !is_kept {
                return Err(refusal);
            }
            vs_state.refusal.get_or_insert(refusal);
        }
        if quiet_nics(self.vip, self.interface(), inputs.observed).is_empty() {
            desired.notes.push(format!(
                "{}: no interface of this node is in its network, so nobody asks this node for it: no ARP step needed",
                self.vip
            ));
        }
        Ok(())
    }

    /// A director that may hold the VIP is a candidate. As a standby it has the services only if that is `warm`.
    fn direct(
        &self,
        nic: &Link,
        warm: bool,
        inputs: &Inputs<'_>,
        vs_state: &mut VirtualServiceState,
        desired: &mut Desired,
    ) {
        let claim = AddressKey::new(nic.dev.clone(), self.vip);
        let holds = inputs.elected.holds_on(&claim);
        // A holder that may not claim gives the VIP up as soon as a successor has it.
        let may_claim = director::may_claim(self.virtual_service, self.vip, nic, inputs);
        if self.may_hold && may_claim.is_ok() {
            let net = Arc::make_mut(&mut desired.net);
            net.claims.insert(claim.clone());
        }
        // Without services it makes the checks all the same, so that nobody waits for them when it takes over.
        let states = self.states(inputs, desired);
        if holds || warm {
            self.add_services(states, inputs, vs_state, desired);
        }
        if let Some(refusal) = rivals::refusal(&claim, holds, inputs) {
            vs_state.refusal.get_or_insert(refusal);
        }
        // If the VIP is on a candidate's NIC, the election alone adopts it or takes it off.
        if self.may_hold
            && let Err(refusal) = &may_claim
        {
            vs_state.refusal.get_or_insert_with(|| refusal.clone());
        }
        if holds || (self.may_hold && inputs.observed.net.addresses.contains_key(&claim)) {
            let net = Arc::make_mut(&mut desired.net);
            net.addresses.insert(claim, Role::Held);
        }
    }

    fn states(&self, inputs: &Inputs<'_>, desired: &mut Desired) -> RealServerStates {
        let states = director::states(self.virtual_service, self.vip, self.real_servers, inputs);
        checked(self.virtual_service, self.vip, states, inputs, desired)
    }

    fn add_services(
        &self,
        states: RealServerStates,
        inputs: &Inputs<'_>,
        vs_state: &mut VirtualServiceState,
        desired: &mut Desired,
    ) {
        let Self {
            virtual_service,
            vip,
            ..
        } = *self;
        for key in virtual_service.services_of(vip) {
            let (destinations, draining) =
                director::destinations(key, virtual_service, &states, inputs, &mut desired.timers);
            vs_state.draining.extend(draining);
            let service = Service {
                destinations,
                ..virtual_service.settings(vip)
            };
            let net = Arc::make_mut(&mut desired.net);
            net.services.insert(key, service);
        }
        vs_state.real_servers.reserve_exact(1);
        vs_state.real_servers.push((vip, states));
    }
}
