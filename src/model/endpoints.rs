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

/// What directway needs of an EndpointSlice.
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
    /// The slice does not limit the ports.
    #[default]
    Any,
    /// These.
    These(BTreeSet<(u16, Protocol)>),
}

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node's own address if the pod is on the host's network.
    pub address: IpAddr,
    /// The node that it runs on, if the slice names it.
    pub node: Option<NodeName>,
    /// Whether it takes connections.
    pub state: EndpointState,
}

/// Whether an endpoint takes connections; the better state compares as less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It takes connections.
    Ready,
    /// It is terminating, but still takes connections.
    ServingTerminating,
    /// It is terminating and takes none.
    Terminating,
    /// It takes none now.
    NotReady,
}

impl EndpointPorts {
    /// Whether the endpoints listen on this port.
    pub fn contains(&self, port: u16, protocol: Protocol) -> bool {
        match self {
            Self::Any => true,
            Self::These(ports) => ports.contains(&(port, protocol)),
        }
    }
}
