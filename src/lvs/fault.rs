//! What can go wrong between us and the kernel's IPVS, in words for the operator.
//!
//! `kernel::ipvs` makes these values from errno, `lvs::director` decides what to do about them.

use serde::Serialize;

/// IPVS as a whole does not answer or can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum KernelFault {
    /// The running kernel has no ip_vs and could not load it.
    #[error(
        "the kernel has no IPVS: load it with `modprobe ip_vs`; where that finds no module, \
         install the kernel package that has it; in a container the host must load it"
    )]
    NoModule,
    /// We may not use it.
    #[error(
        "not permitted to use IPVS: CAP_NET_ADMIN is missing, or in a container the host must \
         grant it (NET_ADMIN) and load ip_vs"
    )]
    NotPermitted,
    /// An order was not answered in time.
    #[error("the kernel's IPVS has not answered for {0} s")]
    Silent(u64),
    /// Earlier orders are still waiting.
    #[error("the kernel's IPVS is busy with earlier orders")]
    Busy,
    /// Our thread for it has ended.
    #[error("the IPVS thread has ended")]
    Ended,
    /// The netlink socket failed.
    #[error("netlink to the kernel's IPVS failed while {doing}: {why}")]
    Netlink {
        /// What was attempted.
        doing: &'static str,
        /// The system's words.
        why: String,
    },
    /// An answer that we can't read.
    #[error("the kernel's IPVS answered what can't be read: {0}")]
    Unreadable(&'static str),
}

impl KernelFault {
    /// One word for status and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoModule => "no_module",
            Self::NotPermitted => "not_permitted",
            Self::Silent(_) => "silent",
            Self::Busy => "busy",
            Self::Ended => "ended",
            Self::Netlink { .. } => "netlink",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Why the kernel did not obey one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum OpError {
    /// EEXIST on an addition.
    #[error("it is there already")]
    Exists,
    /// ESRCH: the virtual service is gone.
    #[error("the virtual service is not in the kernel")]
    NoService,
    /// ENOENT on a destination.
    #[error("the real server is not in the kernel")]
    NoDest,
    /// ENOENT on a service: its scheduler could not be loaded.
    #[error("the kernel has no scheduler `{0}`: is its module `ip_vs_{0}` installed?")]
    NoScheduler(String),
    /// EPERM.
    #[error("not permitted: CAP_NET_ADMIN is missing")]
    NotPermitted,
    /// EINVAL.
    #[error("the kernel takes this combination for invalid")]
    Invalid,
    /// ERANGE.
    #[error("a number is out of the kernel's range")]
    Range,
    /// ENOMEM, ENOBUFS.
    #[error("the kernel is short of memory")]
    Memory,
    /// The rules that full NAT needs beside IPVS are not in force: why.
    #[error("its packets would keep the client's address: {0}")]
    Untranslated(String),
    /// No answer for this one: the answers overflowed the receive buffer.
    #[error("the answer was lost")]
    Lost,
    /// Anything else.
    #[error("error {0} of the kernel")]
    Errno(i32),
}
