use std::fmt;

use super::Reason;

/// Something that a node lacks for its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// What was checked.
    pub check: PreflightCheck,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// What is checked on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreflightCheck {
    /// Something that all VirtualServices need, by the reason for which they are refused without it.
    Needs(Reason),
    /// Whether the IPVS sync daemons are directway's.
    ConnectionSync,
    /// Whether UDP clients leave a real server that is deleted (`net.ipv4.vs.expire_nodest_conn`).
    ExpireNodestConn,
    /// Whether persistent clients leave a real server of weight 0 (`net.ipv4.vs.expire_quiescent_template`).
    ExpireQuiescentTemplate,
    /// Whether the sources can be read.
    Source,
    /// Whether the agent's node is one of those that the sources name.
    NodeName,
    /// Whether every manifest has been read completely, so that it is known what may be removed.
    UnreadManifest,
    /// Whether the node's report can name everything that other nodes act on.
    ReportSize,
    /// A check that only a newer agent makes.
    Other(String),
}

impl PreflightCheck {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Needs(reason) => reason.name(),
            Self::ConnectionSync => "ConnectionSync",
            Self::ExpireNodestConn => "ExpireNodestConn",
            Self::ExpireQuiescentTemplate => "ExpireQuiescentTemplate",
            Self::Source => "Source",
            Self::NodeName => "NodeName",
            Self::UnreadManifest => "UnreadManifest",
            Self::ReportSize => "ReportSize",
            Self::Other(name) => name,
        }
    }

    /// The check with this name.
    pub fn from_name(name: &str) -> Self {
        let reason = Reason::from_name(name).map(Self::Needs);
        let of_node = [
            Self::ConnectionSync,
            Self::ExpireNodestConn,
            Self::ExpireQuiescentTemplate,
            Self::Source,
            Self::NodeName,
            Self::UnreadManifest,
            Self::ReportSize,
        ];
        let of_node = || of_node.into_iter().find(|it| it.name() == name);
        let known = reason.or_else(of_node);
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Display for PreflightCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
