use std::{fmt, str::FromStr};

use super::Dev;

/// How many names and patterns a list may have.
const LONGEST_LIST: usize = 8;

/// Interfaces by name or by pattern, the preferred first: `eth0`, or `eno*,bond0` where names differ between nodes. `*`
/// stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces(Vec<String>);

/// A text that names no interfaces.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{0}\" is not an interface name: use 1 to 15 ASCII characters without \"/\", \":\" or space, and not \".\" or \"..\"; or up to 8 names with commas between them, * for any characters"
)]
pub struct InvalidInterfaces(String);

impl Interfaces {
    /// Where in the list an interface is, if it is in it.
    pub fn position(&self, dev: &Dev) -> Option<usize> {
        self.0.iter().position(|it| matches(it, dev.as_str()))
    }
}

impl From<Dev> for Interfaces {
    fn from(dev: Dev) -> Self {
        Self(vec![dev.to_string()])
    }
}

impl FromStr for Interfaces {
    type Err = InvalidInterfaces;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        let is_name = |name: &String| {
            name.bytes().all(|byte| byte.is_ascii_graphic()) && name.parse::<Dev>().is_ok()
        };
        if names.len() > LONGEST_LIST || !names.iter().all(is_name) {
            return Err(InvalidInterfaces(text.to_owned()));
        }
        Ok(Self(names))
    }
}

impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(","))
    }
}

/// Whether `name` matches `pattern`: the parts between the stars are found in it one after the other, the first at its
/// beginning and the last at its end.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str, name: &str) -> Option<usize> {
        let interfaces: Interfaces = text.parse().unwrap();
        interfaces.position(&name.parse().unwrap())
    }

    #[test]
    fn a_name_is_itself_and_a_star_any_characters() {
        for (text, name, expected) in [
            ("eth0", "eth0", Some(0)),
            ("eth0", "eth01", None),
            ("eth*", "eth", Some(0)),
            ("eth*", "veth1", None),
            ("*", "anything", Some(0)),
            ("en*s*f1", "enp0s31f1", Some(0)),
            ("en*s*f1", "enp0s31f0", None),
            ("a*a", "a", None),
            ("bond0,en*", "eno1", Some(1)),
            ("bond0,en*", "wlan0", None),
        ] {
            assert_eq!(position(text, name), expected, "{text} {name}");
        }
    }

    #[test]
    fn a_list_has_names_and_an_end() {
        for wrong in [
            "",
            "eth0,",
            ",",
            "a b",
            "eth0, eth1",
            "a/b",
            "für0",
            "eth0,..",
            "sixteen-chars-xx",
            "1,2,3,4,5,6,7,8,9",
        ] {
            let error = wrong.parse::<Interfaces>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{wrong}\" is not")), "{error}");
        }
        let text = "eth0,en*";
        assert_eq!(text.parse::<Interfaces>().unwrap().to_string(), text);
    }
}
