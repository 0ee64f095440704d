//! Where the objects are read from, and the names of the sources.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where VirtualServices and nodes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// The Kubernetes API: in a pod with its service account, else with the kubeconfig.
    Kubernetes,
    /// A directory of manifests.
    Directory(PathBuf),
}

/// A text that names no source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a source: use kubernetes or dir:PATH")]
pub struct UnknownSource(String);

impl FromStr for SourceConfig {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("dir:") {
            Some(path) if !path.is_empty() => Ok(Self::Directory(path.into())),
            None if text == "kubernetes" => Ok(Self::Kubernetes),
            Some(_) | None => Err(UnknownSource(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.pad("kubernetes"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// A kind of objects, or a directory. All but `EndpointSlices` and `Heartbeats` must be read completely before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// The VirtualServices of an API server.
    VirtualServices,
    /// The nodes of an API server.
    Nodes,
    /// The reports of the nodes' agents, on an API server.
    NodeStates,
    /// The ConfigMap that may ask for everything to be undone.
    UndoSwitch,
    /// The endpoints of Services, of an API server. Only a director that needs them reads them. Until then it leaves
    /// the VirtualServices concerned as they are.
    EndpointSlices,
    /// The Leases that agents renew, on an API server. Only the controller follows them; it works without.
    Heartbeats,
    /// A directory of manifests.
    Directory,
}

impl SourceName {
    /// The plural name of its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::VirtualServices => "VirtualServices",
            Self::Nodes => "Nodes",
            Self::NodeStates => "NodeStates",
            Self::UndoSwitch => "ConfigMaps",
            Self::EndpointSlices => "EndpointSlices",
            Self::Heartbeats => "Leases",
            Self::Directory => "manifests",
        }
    }

    /// Its name in readiness, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::VirtualServices => "virtualservices",
            Self::Nodes => "nodes",
            Self::NodeStates => "nodestates",
            Self::UndoSwitch => "undoswitch",
            Self::EndpointSlices => "endpointslices",
            Self::Heartbeats => "heartbeats",
            Self::Directory => "directory",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_it_prints() {
        for text in ["kubernetes", "dir:/etc/directway"] {
            assert_eq!(text.parse::<SourceConfig>().unwrap().to_string(), text);
        }
        for bad in ["", "dir:", "file:/x", "Kubernetes"] {
            assert!(bad.parse::<SourceConfig>().is_err(), "{bad:?} was accepted");
        }
    }
}
