//! The kernel's IPVS table over generic netlink: read it, and obey orders on it.
//!
//! Blocking, and slow at times: a scheduler that is not loaded yet is loaded by the kernel inside
//! our `send`. So the daemon runs it on a thread of its own ([`spawn`]). What should be in the
//! table is `lvs`'s business; here nothing is decided and nothing retried.
//!
//! ```text
//! Ipvs ── socket: kernel::genl::socket   ── bytes: kernel::genl   ── IPVS attributes: message
//! ```

mod message;
pub mod recorded;
mod sync;
mod thread;
mod timeouts;

pub use self::sync::{RunningSync, SyncFault, SyncRole};
pub use self::thread::{IpvsHandle, ORDERS_WAITING_MAX, spawn};
use crate::kernel::genl::socket::{ACK, DUMP, Fault, Go, REQUEST, Received, Socket};
use crate::kernel::genl::{Answer, Batch, Body, Head, socket};
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::model::{
    ConnectionCount, ConnectionCounts, DestEntry, RealKey, ServiceEntry, ServiceKey, Table,
};
use crate::lvs::plan::Op;

/// Orders sent at once. Each is acknowledged, and a receive buffer of the default size
/// (212,992 bytes) was measured to hold 277 acknowledgements; error answers take up to twice the
/// room.
const WINDOW: usize = 100;

/// A socket to the kernel's IPVS in the network namespace of the thread that opened it.
pub struct Ipvs {
    socket: Socket,
}

impl Ipvs {
    /// Opens the socket; the kernel loads ip_vs when it can.
    ///
    /// # Errors
    /// [`KernelFault::NoModule`] where there is no IPVS, or the socket's own faults.
    pub fn open() -> Result<Self, KernelFault> {
        Ok(Self { socket: Socket::open(message::FAMILY, message::VERSION)? })
    }

    /// The whole table.
    ///
    /// # Errors
    /// What keeps us from reading it; [`KernelFault::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn dump(&mut self) -> Result<Table, KernelFault> {
        self.dump_with_counts().map(|(table, _)| table)
    }

    /// The whole table and each destination's connections, for the same price.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    pub fn dump_with_counts(&mut self) -> Result<(Table, ConnectionCounts), KernelFault> {
        let mut table = self.dump_services()?;
        let mut counts = ConnectionCounts::new();
        for (key, entry) in &mut table.0 {
            self.dump_dests(key, |real, dest, count| {
                entry.dests.insert(real, dest);
                counts.insert((*key, real), count);
            })?;
        }
        Ok((table, counts))
    }

    fn dump_services(&mut self) -> Result<Table, KernelFault> {
        let doing = "reading the virtual services";
        let mut batch = Batch::default();
        batch.message(self.head(message::GET_SERVICE, REQUEST | DUMP), |_| {});
        self.send(doing, &batch)?;
        let mut table = Table::default();
        self.receive(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else { return end_of_dump(doing, &answer) };
            table.0.extend(service(attrs)?);
            Ok(Go::On)
        })?;
        Ok(table)
    }

    fn dump_dests(
        &mut self,
        of: &ServiceKey,
        mut found: impl FnMut(RealKey, DestEntry, ConnectionCount),
    ) -> Result<(), KernelFault> {
        let doing = "reading the real servers";
        let mut batch = Batch::default();
        let head = self.head(message::GET_DEST, REQUEST | DUMP);
        batch.message(head, |batch| message::put_service(batch, of));
        self.send(doing, &batch)?;
        self.receive(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else { return end_of_dump(doing, &answer) };
            let (real, entry, count) = dest(attrs, of)?;
            found(real, entry, count);
            Ok(Go::On)
        })
    }

    /// Obeys orders in their order; one that fails does not stop the others. The answers are in
    /// the same places as the orders.
    ///
    /// # Errors
    /// When the socket fails: how many orders were obeyed is then unknown, and a dump must tell.
    pub fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let mut results = Vec::with_capacity(ops.len());
        for window in ops.chunks(WINDOW) {
            results.extend(self.apply_window(window)?);
        }
        Ok(results)
    }

    fn apply_window(&mut self, ops: &[Op]) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let doing = "changing the table";
        let mut batch = Batch::default();
        let first = self.socket.next_seq();
        for op in ops {
            let head = self.head(message::command(op), REQUEST | ACK);
            batch.message(head, |batch| message::put_op(batch, op));
        }
        self.send(doing, &batch)?;
        let mut results = vec![Err(OpError::Lost); ops.len()];
        let mut open = ops.len();
        let received = self.socket.receive_from::<KernelFault>(doing, first, |answer| {
            let place = usize::try_from(answer.seq.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let (Some(op), Some(result), Body::Status(errno)) =
                (ops.get(place), results.get_mut(place), answer.body)
            {
                *result = if errno == 0 { Ok(()) } else { Err(message::op_error(op, errno)) };
                open -= 1;
            }
            Ok(if open == 0 { Go::Stop } else { Go::On })
        });
        match received {
            // An overflow: the orders were obeyed, but not all answers found room.
            Err(Received::Overflow) => self.socket.drain(),
            Err(Received::Fault(fault)) => return Err(fault),
            Ok(()) => {}
        }
        Ok(results)
    }

    /// One order, and the errno that answers it.
    fn order(
        &mut self,
        doing: &'static str,
        command: u8,
        write: impl FnOnce(&mut Batch),
    ) -> Result<i32, KernelFault> {
        Ok(self.socket.order(doing, command, write)?)
    }

    fn head(&mut self, command: u8, flags: u16) -> Head {
        self.socket.head(command, flags)
    }

    fn send(&self, doing: &'static str, batch: &Batch) -> Result<(), KernelFault> {
        Ok(self.socket.send(doing, batch)?)
    }

    fn receive(
        &mut self,
        doing: &'static str,
        each: impl FnMut(Answer<'_>) -> Result<Go, KernelFault>,
    ) -> Result<(), KernelFault> {
        self.socket.receive(doing, each)
    }
}

impl From<Fault> for KernelFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Absent => Self::NoModule,
            Fault::NotPermitted => Self::NotPermitted,
            Fault::Netlink(doing, why) => Self::Netlink { doing, why },
            Fault::Unreadable(what) => Self::Unreadable(what),
        }
    }
}

fn service(attrs: &[u8]) -> Result<Option<(ServiceKey, ServiceEntry)>, KernelFault> {
    message::read_service(attrs).ok_or(KernelFault::Unreadable("a virtual service"))
}

fn dest(
    attrs: &[u8],
    of: &ServiceKey,
) -> Result<(RealKey, DestEntry, ConnectionCount), KernelFault> {
    message::read_dest(attrs, of).ok_or(KernelFault::Unreadable("a real server"))
}

/// A refusal of the whole.
fn fault(doing: &'static str, errno: i32) -> KernelFault {
    socket::fault(doing, errno).into()
}

fn end_of_dump(doing: &'static str, answer: &Answer<'_>) -> Result<Go, KernelFault> {
    Ok(socket::end_of_dump(doing, answer)?)
}

#[cfg(test)]
mod tests;
