use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{NodeName, Protocol, ServiceName};

/// The endpoints of Services, as far as they are known: a Service that is not in here has not been read, one that is
/// there with no slice has no endpoints.
pub type Endpoints = BTreeMap<ServiceName, Slices>;

/// A Service's EndpointSlices by name.
pub type Slices = BTreeMap<String, Slice>;

/// What matters of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// What its endpoints listen on.
    pub ports: EndpointPorts,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What endpoints listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndpointPorts {
    /// Nobody says; whatever they are asked for.
    #[default]
    Any,
    /// These.
    These(BTreeSet<(u16, Protocol)>),
}

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A node's own address if it is on the host's network.
    pub address: IpAddr,
    /// The node that it runs on, if it says.
    pub node: Option<NodeName>,
    /// Whether it takes connections.
    pub state: EndpointState,
}

/// Whether an endpoint takes connections; the better one is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It is going to end, but still does.
    ServingTerminating,
    /// It is going to end, and doesn't.
    Terminating,
    /// It doesn't, now.
    NotReady,
}

impl EndpointPorts {
    /// Whether a connection to this port finds somebody.
    pub fn contains(&self, port: u16, protocol: Protocol) -> bool {
        match self {
            Self::Any => true,
            Self::These(ports) => ports.contains(&(port, protocol)),
        }
    }
}
