//! Dumps and orders as bytes, without a socket: what the kernel sent or would be sent.
//!
//! Pure, and reads with the very functions that [`Ipvs::dump`](super::Ipvs::dump) uses; for
//! recordings and for `tests/fuzz`.

use std::collections::BTreeMap;

use super::{ConnectionCount, dest, end_of_dump, message, service};
use crate::kernel::genl::{Answer, Batch, Body, Head, answers};
use crate::lvs::fault::KernelFault;
use crate::lvs::model::{DestEntry, RealKey, ServiceEntry, ServiceKey};
use crate::lvs::plan::Op;
use crate::lvs::settings::Timeout;

/// The services in one piece of a dump, without their destinations.
///
/// # Errors
/// [`KernelFault::Unreadable`], or the errno that the piece ends with.
pub fn services(piece: &[u8]) -> Result<Vec<(ServiceKey, ServiceEntry)>, KernelFault> {
    let found = read(piece, service)?;
    Ok(found.into_iter().flatten().collect())
}

/// The destinations of `of` in one piece of a dump.
///
/// # Errors
/// As [`services`].
pub fn dests(
    piece: &[u8],
    of: &ServiceKey,
) -> Result<Vec<(RealKey, DestEntry, ConnectionCount)>, KernelFault> {
    read(piece, |attrs| dest(attrs, of))
}

/// The timeouts of connections, in seconds, in the kernel's answer.
///
/// # Errors
/// As [`services`].
pub fn timeouts(answer: &[u8]) -> Result<BTreeMap<Timeout, u32>, KernelFault> {
    Ok(read(answer, |attrs| Ok(super::timeouts::read(attrs)))?.into_iter().flatten().collect())
}

/// The orders as they are sent, but for the number of the family, which is 0.
pub fn orders(ops: &[Op]) -> Vec<u8> {
    let mut batch = Batch::default();
    for op in ops {
        let (command, version) = (message::command(op), message::VERSION);
        let head = Head { family: 0, flags: 0, seq: 0, command, version };
        batch.message(head, |batch| message::put_op(batch, op));
    }
    batch.as_bytes().to_vec()
}

fn read<T>(
    piece: &[u8],
    one: impl Fn(&[u8]) -> Result<T, KernelFault>,
) -> Result<Vec<T>, KernelFault> {
    let mut found = Vec::new();
    for answer in answers(piece) {
        let answer = answer.map_err(|_| KernelFault::Unreadable("a malformed message"))?;
        match answer {
            Answer { body: Body::Attributes(attrs), .. } => found.push(one(attrs)?),
            ended => {
                end_of_dump("reading a recorded dump", &ended)?;
                break;
            }
        }
    }
    Ok(found)
}
