//! How long the kernel remembers connections, for all services of the network namespace: what
//! `ipvsadm -L --timeout` shows and `ipvsadm --set` sets.
//!
//! Layout: linux/ip_vs.h (`IPVS_CMD_SET_CONFIG`, `IPVS_CMD_GET_CONFIG`, `IPVS_CMD_ATTR_TIMEOUT_*`); seconds, in
//! host order. What is not in an order stays as it is.

use std::collections::BTreeMap;

use super::{Go, Ipvs, REQUEST, fault};
use crate::kernel::genl::{Batch, Body, attribute, u32_at};
use crate::lvs::fault::KernelFault;
use crate::lvs::settings::Timeout;

const SET_CONFIG: u8 = 12;
const GET_CONFIG: u8 = 13;

/// `IPVS_CMD_ATTR_TIMEOUT_TCP`, `_TCP_FIN`, `_UDP`.
fn kind(timeout: Timeout) -> u16 {
    match timeout {
        Timeout::Tcp => 4,
        Timeout::TcpFin => 5,
        Timeout::Udp => 6,
    }
}

impl Ipvs {
    /// All that this kernel has, in seconds: one without TCP or UDP for IPVS has not all of them.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    pub fn timeouts(&mut self) -> Result<BTreeMap<Timeout, u32>, KernelFault> {
        let doing = "reading the timeouts of connections";
        let mut batch = Batch::default();
        batch.message(self.head(GET_CONFIG, REQUEST), |_| {});
        self.send(doing, &batch)?;
        let mut found = BTreeMap::new();
        self.receive(doing, |answer| match answer.body {
            Body::Attributes(attrs) => {
                found = read(attrs);
                Ok(Go::Stop)
            }
            Body::Status(errno) | Body::Done(errno) => Err(fault(doing, errno)),
        })?;
        Ok(found)
    }

    /// Sets one, from 1 s to [`TIMEOUT_MAX`](crate::lvs::settings::TIMEOUT_MAX). Connections that are there
    /// have it from their next packet on.
    ///
    /// # Errors
    /// As [`Ipvs::dump`]; the kernel's refusal.
    pub fn set_timeout(&mut self, timeout: Timeout, seconds: u32) -> Result<(), KernelFault> {
        let doing = "setting a timeout of connections";
        match self.order(doing, SET_CONFIG, |batch| put(batch, timeout, seconds))? {
            0 => Ok(()),
            errno => Err(fault(doing, errno)),
        }
    }
}

pub(super) fn put(batch: &mut Batch, timeout: Timeout, seconds: u32) {
    batch.put_u32(kind(timeout), seconds);
}

pub(super) fn read(message: &[u8]) -> BTreeMap<Timeout, u32> {
    let seconds = |timeout| Some((timeout, u32_at(attribute(message, kind(timeout))?, 0)?));
    Timeout::ALL.into_iter().filter_map(seconds).collect()
}
