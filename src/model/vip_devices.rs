use std::{fmt, str::FromStr};

use super::Dev;

/// Which devices besides `lo` may carry VIPs on a node: its administrator's choice, because whoever may write a
/// VirtualService may name any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipDevices(pub Vec<DevicePattern>);

/// The name of a device, or `*` after the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePattern(String);

/// A text that is no [`DevicePattern`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not the name of a device: use 1 to 15 characters, with * at the end for all that begin so, as in vip*"
)]
pub struct InvalidPattern(String);

impl Default for VipDevices {
    /// Names that nobody but directway has a use for.
    fn default() -> Self {
        let names = ["directway*", "dummy*", "vip*"];
        Self(names.map(|name| DevicePattern(name.to_owned())).into())
    }
}

impl VipDevices {
    /// Every device, as agents of older releases allow.
    pub fn any() -> Self {
        Self(vec![DevicePattern("*".to_owned())])
    }

    /// All of them, `lo` first.
    pub fn names(&self) -> Vec<String> {
        let others = self.0.iter().map(ToString::to_string);
        std::iter::once(Dev::lo().to_string())
            .chain(others)
            .collect()
    }

    /// Whether VIPs may be bound on `dev`.
    pub fn allow(&self, dev: &Dev) -> bool {
        *dev == Dev::lo() || self.0.iter().any(|pattern| pattern.matches(dev))
    }
}

impl fmt::Display for VipDevices {
    /// `lo, dummy*, vip*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.names().join(", "))
    }
}

impl DevicePattern {
    fn matches(&self, dev: &Dev) -> bool {
        let name = dev.as_str();
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.0,
        }
    }
}

impl fmt::Display for DevicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for DevicePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        let is_name = text == "*" || Dev::from_str(beginning).is_ok();
        if !is_name || beginning.contains('*') {
            return Err(InvalidPattern(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_allowed_by_its_name_or_its_beginning() {
        let allowed = VipDevices(vec!["vip*".parse().unwrap(), "eth1".parse().unwrap()]);
        let allows = |name: &str| allowed.allow(&name.parse().unwrap());
        for name in ["lo", "vip", "vip0", "eth1"] {
            assert!(allows(name), "{name}");
        }
        for name in ["eth10", "eth0", "lo0", "wg0", "avip0"] {
            assert!(!allows(name), "{name}");
        }
        assert_eq!(allowed.to_string(), "lo, vip*, eth1");
        assert!(VipDevices::any().allow(&"wg0".parse().unwrap()));
        for wrong in ["", "a*b", "**", "a/b", "sixteen-letters-x"] {
            assert!(DevicePattern::from_str(wrong).is_err(), "{wrong:?}");
        }
    }
}
