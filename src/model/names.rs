use std::{borrow::Borrow, fmt, str::FromStr};

/// A node's name, as in `kubectl get nodes`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Namespace and name of a VirtualService; sorts and prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VsKey {
    /// Namespace; `default` for a manifest that names none.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

impl VsKey {
    /// `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for VsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

/// Namespace and name of a Kubernetes Service; sorts and prints as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

impl ServiceName {
    /// `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

/// The name of a network interface that the kernel would accept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dev(String);

/// A text that `dev_valid_name()` in the kernel's `net/core/dev.c` refuses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not an interface name: use 1 to 15 characters without '/', ':' or white space, and not '.' or '..'"
)]
pub struct InvalidDev(String);

impl Dev {
    /// The loopback device.
    pub fn lo() -> Self {
        Self("lo".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the loopback device.
    pub fn is_lo(&self) -> bool {
        self.0 == "lo"
    }
}

impl FromStr for Dev {
    type Err = InvalidDev;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let bad_char = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        // IFNAMSIZ is 16 with the terminating zero.
        if name.is_empty()
            || name.len() > 15
            || name == "."
            || name == ".."
            || name.contains(bad_char)
        {
            return Err(InvalidDev(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for Dev {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_follow_the_kernels_rule() {
        for good in ["lo", "eth0", "bond0.12", "enp0s31f6", "a-b_c"] {
            assert!(good.parse::<Dev>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", ".", "..", "a/b", "a b", "eth0:1", "sixteen-chars-xx"] {
            assert!(bad.parse::<Dev>().is_err(), "{bad:?} was accepted");
        }
    }
}
