use std::fmt;

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came within this time, in milliseconds.
    NoAnswer(u32),
    /// The port is closed: a RST came.
    Closed,
    /// It cannot be reached: the kernel's words.
    Unreachable(String),
    /// The connection ended before a whole answer had come, or what came is none: what is wrong.
    Garbled(String),
    /// Another status code than one that is expected.
    Status(u16),
    /// The body lacks what it must contain.
    Body,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(ms) => write!(f, "no answer within {ms} ms"),
            Self::Closed => f.write_str("the port is closed"),
            Self::Unreachable(why) | Self::Garbled(why) => f.write_str(why),
            Self::Status(code) => write!(f, "the answer has the status {code}"),
            Self::Body => f.write_str("the answer's body lacks the expected text"),
        }
    }
}
