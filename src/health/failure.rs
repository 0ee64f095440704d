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
    /// TLS failed: why, such as that the certificate has expired. See [`Self::tls`].
    Tls(String),
    /// Another status code than one that is expected.
    Status(u16),
    /// The body lacks what it must contain.
    Body,
    /// A name server could not find out: SERVFAIL.
    ServerFailure,
}

impl Failure {
    /// How many characters a failure of TLS has at most.
    const MOST_WORDS: usize = 400;

    /// TLS failed with these words, which may be a library's: they are put on one line and cut, because reports have a
    /// greatest size.
    pub fn tls(words: &str) -> Self {
        let printable = |it: char| if it.is_control() { ' ' } else { it };
        let words = words.chars().map(printable);
        Self::Tls(words.take(Self::MOST_WORDS).collect())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(ms) => write!(f, "no answer within {ms} ms"),
            Self::Closed => f.write_str("the port is closed"),
            Self::Unreachable(why) | Self::Garbled(why) | Self::Tls(why) => f.write_str(why),
            Self::Status(code) => write!(f, "the answer has the status {code}"),
            Self::ServerFailure => f.write_str("the answer is SERVFAIL"),
            Self::Body => f.write_str("the answer's body lacks the expected text"),
        }
    }
}
