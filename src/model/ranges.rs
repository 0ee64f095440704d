use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

/// A set of addresses, kept and printed as ranges: ten thousand consecutive ones are one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRanges(Vec<(IpAddr, IpAddr)>);

/// A text that is no address and no range of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a range of addresses: write ADDRESS or FIRST-LAST with FIRST below LAST, both of one family"
)]
pub struct ParseRangeError(String);

fn next(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip)
            .checked_add(1)
            .map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(ip) => u128::from(ip)
            .checked_add(1)
            .map(|bits| IpAddr::V6(bits.into())),
    }
}

impl IpRanges {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= ip);
        after
            .checked_sub(1)
            .and_then(|index| self.0.get(index))
            .is_some_and(|(_, last)| ip <= *last)
    }

    /// How many addresses are in it.
    pub fn len(&self) -> u128 {
        let size = |(first, last): &(IpAddr, IpAddr)| match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                u128::from(u32::from(*last) - u32::from(*first)) + 1
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                (u128::from(*last) - u128::from(*first)).saturating_add(1)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
        };
        self.0.iter().map(size).fold(0, u128::saturating_add)
    }

    /// Every address. Check [`Self::len`] first where the ranges come from outside.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.iter().flat_map(|(first, last)| {
            std::iter::successors(Some(*first), move |ip| next(*ip).filter(|ip| ip <= last))
        })
    }

    /// Each range as text: `10.0.0.1` or `10.0.0.1-10.0.0.9`.
    pub fn to_strings(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(first, last)| {
                if first == last {
                    first.to_string()
                } else {
                    format!("{first}-{last}")
                }
            })
            .collect()
    }

    /// Reads what [`Self::to_strings`] wrote; any order, overlaps allowed.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ParseRangeError> {
        let mut ranges = texts
            .into_iter()
            .map(parse_range)
            .collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if touches(*end, first) => *end = (*end).max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }
}

/// Whether a range that starts at `first` continues one that ends at `end`.
fn touches(end: IpAddr, first: IpAddr) -> bool {
    end.is_ipv4() == first.is_ipv4() && (first <= end || next(end) == Some(first))
}

fn parse_range(text: &str) -> Result<(IpAddr, IpAddr), ParseRangeError> {
    let refuse = || ParseRangeError(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = IpAddr::from_str(first.trim()).map_err(|_| refuse())?;
    let last = IpAddr::from_str(last.trim()).map_err(|_| refuse())?;
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err(refuse());
    }
    Ok((first, last))
}

impl FromIterator<IpAddr> for IpRanges {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        let sorted: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::new();
        for ip in sorted {
            match ranges.last_mut() {
                Some((_, last)) if touches(*last, ip) => *last = ip,
                Some(_) | None => ranges.push((ip, ip)),
            }
        }
        Self(ranges)
    }
}

impl<const N: usize> From<[IpAddr; N]> for IpRanges {
    fn from(addresses: [IpAddr; N]) -> Self {
        addresses.into_iter().collect()
    }
}

impl fmt::Display for IpRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_strings().join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(bits: u32) -> IpAddr {
        IpAddr::V4(bits.into())
    }

    proptest! {
        #[test]
        fn a_set_survives_its_text_and_knows_its_members(members in prop::collection::btree_set(0u32..64, 0..40)) {
            let ranges: IpRanges = members.iter().copied().map(v4).collect();
            let texts = ranges.to_strings();
            prop_assert_eq!(IpRanges::parse(texts.iter().map(String::as_str)), Ok(ranges.clone()));
            for bits in 0..64 {
                prop_assert_eq!(ranges.contains(v4(bits)), members.contains(&bits));
            }
            prop_assert_eq!(ranges.len(), members.len() as u128);
            prop_assert!(ranges.iter().eq(members.iter().copied().map(v4)));
        }
    }

    #[test]
    fn neighbours_are_one_range_and_the_last_address_ends_one() {
        let ranges: IpRanges = [v4(1), v4(2), v4(3), v4(9), v4(u32::MAX)]
            .into_iter()
            .collect();
        assert_eq!(
            ranges.to_strings(),
            ["0.0.0.1-0.0.0.3", "0.0.0.9", "255.255.255.255"]
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", "10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.0/24"] {
            assert!(IpRanges::parse([bad]).is_err(), "{bad:?} was accepted");
        }
    }
}
