//! For which VirtualServices a node's report counts.
//!
//! A report counts for an object only if the node had seen that object's present generation. One digest over all
//! objects would differ after a change of any of them, and a list of all of them is too long. So there are buckets: an
//! object falls into one by its uid, and a bucket's digest shows whether the node saw the same objects, in the same
//! generations, as the reader.

use std::{collections::BTreeMap, fmt::Write};

/// Hexadecimal digits per bucket.
const DIGITS: usize = 8;
/// Bounds on the number of buckets: a short line for a small cluster, 4 KiB for a large one.
const BUCKETS: std::ops::RangeInclusive<usize> = 8..=512;

/// The longest digest, in characters.
pub(super) const MAX_DIGEST: usize = *BUCKETS.end() * DIGITS;

/// The objects that an agent or controller has seen: uid → generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedGenerations(BTreeMap<String, i64>);

impl FromIterator<(String, i64)> for ObservedGenerations {
    fn from_iter<T: IntoIterator<Item = (String, i64)>>(objects: T) -> Self {
        Self(objects.into_iter().collect())
    }
}

impl ObservedGenerations {
    /// The text for a NodeState.
    pub fn digest(&self) -> String {
        let buckets = (self.0.len() * 2)
            .next_power_of_two()
            .clamp(*BUCKETS.start(), *BUCKETS.end());
        let mut text = String::with_capacity(buckets * DIGITS);
        for digest in self.buckets(buckets) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{digest:08x}");
        }
        text
    }

    fn buckets(&self, count: usize) -> Vec<u32> {
        let mut buckets = vec![0; count];
        for (uid, generation) in &self.0 {
            // Order doesn't matter to xor; `count` is a power of two.
            let digest = hash(uid.bytes().chain(generation.to_le_bytes()));
            if let Some(bucket) = buckets.get_mut(bucket_of(uid, count)) {
                *bucket ^= (digest >> 32) as u32;
            }
        }
        buckets
    }

    /// For which objects a report with this digest counts, where the reader has seen `self`.
    pub fn compare(&self, digest: &str) -> GenerationMatch {
        let count = digest.len() / DIGITS;
        let well_formed = digest.is_ascii()
            && digest.len() == count * DIGITS
            && count.is_power_of_two()
            && BUCKETS.contains(&count);
        if !well_formed {
            return GenerationMatch(Vec::new());
        }
        let agree = self
            .buckets(count)
            .into_iter()
            .enumerate()
            .map(|(index, own)| {
                digest
                    .get(index * DIGITS..(index + 1) * DIGITS)
                    .and_then(|text| u32::from_str_radix(text, 16).ok())
                    == Some(own)
            });
        GenerationMatch(agree.collect())
    }
}

/// Of which objects the writer and the reader of a report have seen the same generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationMatch(Vec<bool>);

impl GenerationMatch {
    /// Whether this object is among them.
    pub fn covers(&self, uid: &str) -> bool {
        !self.0.is_empty() && self.0.get(bucket_of(uid, self.0.len())) == Some(&true)
    }
}

fn bucket_of(uid: &str, count: usize) -> usize {
    hash(uid.bytes()) as usize & (count - 1)
}

/// FNV-1a with the finishing step of MurmurHash3: fixed for ever, unlike the standard library's.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: usize) -> ObservedGenerations {
        (0..count)
            .map(|index| (format!("uid-{index}"), 1))
            .collect()
    }

    #[test]
    fn a_report_of_the_same_objects_covers_all_of_them() {
        for count in [0, 1, 7, 100, 10_000] {
            let digest = seen(count).digest();
            let agreement = seen(count).compare(&digest);
            assert!((0..count).all(|index| agreement.covers(&format!("uid-{index}"))));
            assert!(digest.len() <= 4096);
        }
    }

    #[test]
    fn one_new_generation_withholds_that_object_and_few_others() {
        let digest = seen(1000).digest();
        let mut newer = seen(1000);
        newer.0.insert("uid-7".to_owned(), 2);
        let agreement = newer.compare(&digest);
        assert!(!agreement.covers("uid-7"));
        let covered = (0..1000)
            .filter(|index| agreement.covers(&format!("uid-{index}")))
            .count();
        assert!(covered >= 980, "only {covered} of 1000 are covered");
    }

    #[test]
    fn an_object_that_only_one_side_knows_is_not_covered() {
        assert!(!seen(8).compare(&seen(7).digest()).covers("uid-7"));
        assert!(
            !seen(3).compare(&seen(200).digest()).covers("uid-0")
                || seen(3).compare(&seen(200).digest()).0.contains(&false)
        );
    }

    #[test]
    fn garbage_covers_nothing() {
        for garbage in [
            "",
            "zz",
            "0123456",
            &"g".repeat(64),
            &"é".repeat(32),
            &"0".repeat(24),
        ] {
            assert!(
                !seen(3).compare(garbage).covers("uid-0"),
                "{garbage:?} covers something"
            );
        }
    }
}
