//! Who reads what.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use crate::model::{NodeName, ServiceName};

use super::{SourceName, UndoSwitch};

/// What a reader wants to know.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How it asks the API server.
    pub pace: Pace,
    /// Whether it wants all of what agents report, and VirtualServices beyond what they ask for. An agent doesn't: what
    /// other nodes act on is enough, and takes less memory.
    pub details: bool,
    /// What the agent of a node wants to know of that node's objects.
    pub own: Option<Arc<OwnObjects>>,
    /// The ConfigMap that may ask for everything to be undone.
    pub switch: Option<UndoSwitch>,
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
            services: None,
        }
    }

    /// What must be read completely before anything is done.
    pub fn sources(&self) -> Vec<SourceName> {
        let always = [
            SourceName::VirtualServices,
            SourceName::Nodes,
            SourceName::NodeStates,
        ];
        let switch = self.switch.as_ref().map(|_| SourceName::UndoSwitch);
        always.into_iter().chain(switch).collect()
    }

    /// All that is followed. Until endpoints are known, the VirtualServices concerned stay as they are.
    pub fn followed(&self) -> Vec<SourceName> {
        let services = self.services.as_ref();
        let endpoints = services.map(|_| SourceName::EndpointSlices);
        self.sources().into_iter().chain(endpoints).collect()
    }
}

/// How an API server is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The server ends a watch after so many seconds and the client begins a new one, so that a connection that died
    /// without a word is noticed.
    pub watch: u32,
    /// Objects per page of a list: what is in memory at once.
    pub page: u32,
}

impl Pace {
    /// On every node: with little memory, and soon aware of a dead connection.
    pub const AGENT: Self = Self {
        watch: 120,
        page: 250,
    };
    /// At one place.
    pub const CONTROLLER: Self = Self {
        watch: 290,
        page: 500,
    };

    /// No word for longer than a watch lasts: the connection is dead.
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
    /// Its NodeState was deleted.
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
