//! What the agent, the controller and the subcommands read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use crate::model::{NodeName, ServiceName};

use super::{SourceName, UndoSwitch};

/// What a reader reads.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The sizes and durations of its requests.
    pub pace: Pace,
    /// Whether it needs complete reports, and the status of VirtualServices. An agent does not: the part of a report
    /// that other nodes act on is enough, and takes less memory.
    pub details: bool,
    /// For an agent: where it receives changes of its own node's objects.
    pub own: Option<Arc<OwnObjects>>,
    /// The ConfigMap that may ask for everything to be undone.
    pub switch: Option<UndoSwitch>,
    /// The namespace of the agents' heartbeats, if these are wanted.
    pub heartbeats: Option<String>,
    /// Services whose endpoints are wanted.
    pub services: Option<watch::Receiver<BTreeSet<ServiceName>>>,
}

impl Wanted {
    /// What the agent of a node reads.
    pub fn agent(
        own: Arc<OwnObjects>,
        switch: Option<UndoSwitch>,
        services: watch::Receiver<BTreeSet<ServiceName>>,
    ) -> Self {
        Self {
            pace: Pace::AGENT,
            details: false,
            own: Some(own),
            switch,
            heartbeats: None,
            services: Some(services),
        }
    }

    /// What the controller and the subcommands read.
    pub fn all() -> Self {
        Self {
            pace: Pace::CONTROLLER,
            details: true,
            own: None,
            switch: None,
            heartbeats: None,
            services: None,
        }
    }

    /// The sources that must be read completely before any work is done.
    pub fn sources(&self) -> Vec<SourceName> {
        let always = [
            SourceName::VirtualServices,
            SourceName::Nodes,
            SourceName::NodeStates,
        ];
        let switch = self.switch.as_ref().map(|_| SourceName::UndoSwitch);
        always.into_iter().chain(switch).collect()
    }

    /// All sources that are followed. Until endpoints are known, the VirtualServices concerned stay as they are; until
    /// heartbeats are, no agent counts as silent.
    pub fn followed(&self) -> Vec<SourceName> {
        let services = self.services.as_ref();
        let endpoints = services.map(|_| SourceName::EndpointSlices);
        let heartbeats = self.heartbeats.as_ref().map(|_| SourceName::Heartbeats);
        let sources = self.sources().into_iter().chain(endpoints);
        sources.chain(heartbeats).collect()
    }
}

/// The sizes and durations of requests to an API server.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The server ends a watch after this many seconds and the client begins a new one, so that a dead connection is
    /// noticed.
    pub watch: u32,
    /// Objects per page of a list: what is in memory at once.
    pub page: u32,
}

impl Pace {
    /// For every node: needs little memory, and notices a dead connection soon.
    pub const AGENT: Self = Self {
        watch: 120,
        page: 250,
    };
    /// For the controller and the subcommands: fewer and larger requests.
    pub const CONTROLLER: Self = Self {
        watch: 290,
        page: 500,
    };

    /// A connection on which nothing arrives for this time is dead, because it is longer than a watch lasts.
    pub fn silence(self) -> Duration {
        Duration::from_secs(u64::from(self.watch) + 15)
    }
}

/// What the agent of a node needs to know of that node's own objects.
#[derive(Debug)]
pub struct OwnObjects {
    /// The node.
    pub node: NodeName,
    /// The UID of its Node object.
    pub node_uid: watch::Sender<Option<String>>,
    /// Notified when its NodeState was deleted.
    pub state_deleted: Notify,
}

impl OwnObjects {
    /// Nothing is known yet.
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            node_uid: watch::Sender::new(None),
            state_deleted: Notify::new(),
        }
    }
}
