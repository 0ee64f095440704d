use std::{
    borrow::Borrow,
    ffi::CStr,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

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

/// IFNAMSIZ: the size of an interface's name in the kernel, with the terminating zero.
const DEV_SIZE: usize = 16;

/// The name of a network interface that the kernel would accept. Like the kernel's it has no memory of its own: ten
/// thousand VIPs name the same few interfaces in every table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dev {
    /// Filled up with zeros, so that names sort as text does.
    name: [u8; DEV_SIZE],
}

/// A text that `dev_valid_name()` in the kernel's `net/core/dev.c` refuses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not an interface name: use 1 to 15 characters without '/', ':' or white space, and not '.' or '..'"
)]
pub struct InvalidDev(String);

impl Dev {
    /// The loopback device.
    pub fn lo() -> Self {
        Self::of("lo")
    }

    /// `text`, which must be shorter than [`DEV_SIZE`].
    fn of(text: &str) -> Self {
        let mut name = [0; DEV_SIZE];
        for (byte, from) in name.iter_mut().zip(text.bytes()) {
            *byte = from;
        }
        Self { name }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let name = CStr::from_bytes_until_nul(&self.name).ok();
        // It was made of a text that is shorter.
        name.and_then(|name| name.to_str().ok()).unwrap_or_default()
    }

    /// Whether this is the loopback device.
    pub fn is_lo(&self) -> bool {
        self.as_str() == "lo"
    }
}

impl FromStr for Dev {
    type Err = InvalidDev;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let bad_char = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if name.is_empty()
            || name.len() >= DEV_SIZE
            || name == "."
            || name == ".."
            || name.contains(bad_char)
        {
            return Err(InvalidDev(name.to_owned()));
        }
        Ok(Self::of(name))
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dev").field(&self.as_str()).finish()
    }
}

impl Borrow<str> for Dev {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// As of the text, which a `Dev` can be borrowed as.
impl Hash for Dev {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
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

    #[test]
    fn interface_names_are_told_apart_and_sorted_as_text() {
        let names = ["a", "eth0", "eth0.1", "eth1", "fifteen-chars-x", "lo", "é"];
        let devs = names.map(|name| name.parse::<Dev>().unwrap());
        assert_eq!(devs.each_ref().map(Dev::as_str), names);
        assert!(devs.is_sorted() && names.is_sorted());
        assert_eq!(format!("{:?} {:>5}", devs[5], devs[5]), "Dev(\"lo\")    lo");
        let found: std::collections::HashSet<Dev> = devs.into();
        assert!(names.iter().all(|name| found.contains(*name)));
    }
}
