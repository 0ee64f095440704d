//! The `directway` binary.

fn main() {}
