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

impl NodeName {
    /// The one of `known` that was probably meant: it differs in case, or in the domain behind the host's name.
    pub fn nearest<'a>(
        &self,
        mut known: impl Iterator<Item = &'a Self> + Clone,
    ) -> Option<&'a Self> {
        fn host(name: &NodeName) -> &str {
            name.0.split('.').next().unwrap_or_default()
        }
        let in_case = |it: &&Self| it.0.eq_ignore_ascii_case(&self.0);
        let in_domain = |it: &&Self| host(it).eq_ignore_ascii_case(host(self));
        known
            .clone()
            .find(in_case)
            .or_else(|| known.find(in_domain))
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
    fn a_name_in_capitals_or_without_its_domain_has_a_nearest_one() {
        let known = ["host-a.example.org", "host-a", "host-b"].map(NodeName::from);
        let nearest = |name: &str| {
            NodeName::from(name)
                .nearest(known.iter())
                .map(|it| it.0.as_str())
        };
        assert_eq!(nearest("HOST-A"), Some("host-a"));
        assert_eq!(nearest("Host-B.example.org"), Some("host-b"));
        assert_eq!(nearest("host-c"), None);
    }

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
