use std::fmt;

/// The errors that the simulated kernel returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errno {
    /// `ENOENT`: no such destination or scheduler.
    NoEntry,
    /// `ESRCH`: no such service or route.
    NotFound,
    /// `EEXIST`: the thing to add is there already.
    Exists,
    /// `ENODEV`: no such device.
    NoDevice,
    /// `EINVAL`: a value that the kernel refuses.
    Invalid,
    /// `ERANGE`: a weight greater than an `int` can hold.
    Range,
    /// `EOPNOTSUPP`: the device cannot do that.
    NotSupported,
    /// `EADDRNOTAVAIL`: the device does not have the address.
    NoAddress,
    /// `ENETDOWN`: the device is down.
    NetDown,
}

impl Errno {
    /// The positive error number.
    pub fn number(self) -> i32 {
        match self {
            Self::NoEntry => libc::ENOENT,
            Self::NotFound => libc::ESRCH,
            Self::Exists => libc::EEXIST,
            Self::NoDevice => libc::ENODEV,
            Self::Invalid => libc::EINVAL,
            Self::Range => libc::ERANGE,
            Self::NotSupported => libc::EOPNOTSUPP,
            Self::NoAddress => libc::EADDRNOTAVAIL,
            Self::NetDown => libc::ENETDOWN,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoEntry => "No such file or directory",
            Self::NotFound => "No such process",
            Self::Exists => "File exists",
            Self::NoDevice => "No such device",
            Self::Invalid => "Invalid argument",
            Self::Range => "Numerical result out of range",
            Self::NotSupported => "Operation not supported",
            Self::NoAddress => "Cannot assign requested address",
            Self::NetDown => "Network is down",
        })
    }
}
