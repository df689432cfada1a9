//! The thread that [`Ipvs`] runs on, and the handle that asynchronous code has of it.
//!
//! The socket is opened with the first order and again after every fault, so that `modprobe
//! ip_vs` heals what its absence broke.

use std::io;

use tokio::sync::{mpsc, oneshot};

use super::{ConnectionCounts, Ipvs, RunningSync, SyncFault, SyncRole};
use crate::config::Sync;
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::model::Table;
use crate::lvs::plan::Op;

/// Orders that may wait for the thread: the director has one under way, repeats it after its
/// time limit, and a status request and one for the sync daemons may come between.
pub const ORDERS_WAITING_MAX: usize = 8;

enum Order {
    Dump(oneshot::Sender<Result<(Table, ConnectionCounts), KernelFault>>),
    Apply(Vec<Op>, oneshot::Sender<Result<Vec<Result<(), OpError>>, KernelFault>>),
    Daemons(oneshot::Sender<Result<Vec<RunningSync>, KernelFault>>),
    StartSync(SyncRole, Box<Sync>, oneshot::Sender<Result<(), SyncFault>>),
    StopSync(SyncRole, oneshot::Sender<Result<(), SyncFault>>),
}

/// Sends orders to the IPVS thread; the thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct IpvsHandle {
    orders: mpsc::Sender<Order>,
}

/// Starts the IPVS thread, in the network namespace of the caller.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn() -> io::Result<IpvsHandle> {
    let (orders, mut received) = mpsc::channel(ORDERS_WAITING_MAX);
    std::thread::Builder::new().name("ipvs".to_owned()).spawn(move || {
        let mut ipvs = None;
        while let Some(order) = received.blocking_recv() {
            obey(&mut ipvs, order);
        }
    })?;
    Ok(IpvsHandle { orders })
}

impl IpvsHandle {
    /// The whole table.
    ///
    /// # Errors
    /// As [`Ipvs::dump`]; [`KernelFault::Busy`] at once when [`ORDERS_WAITING_MAX`] are waiting.
    pub async fn dump(&self) -> Result<Table, KernelFault> {
        self.dump_with_counts().await.map(|(table, _)| table)
    }

    /// The whole table and the connections of each destination.
    ///
    /// # Errors
    /// As [`IpvsHandle::dump`].
    pub async fn dump_with_counts(&self) -> Result<(Table, ConnectionCounts), KernelFault> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Dump(answer))?;
        answered.await.map_err(|_| KernelFault::Ended)?
    }

    /// Obeys orders, as [`Ipvs::apply`].
    ///
    /// # Errors
    /// As [`Ipvs::apply`]; [`KernelFault::Busy`] at once when [`ORDERS_WAITING_MAX`] are waiting.
    pub async fn apply(&self, ops: Vec<Op>) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Apply(ops, answer))?;
        answered.await.map_err(|_| KernelFault::Ended)?
    }

    /// The sync daemons that run.
    ///
    /// # Errors
    /// As [`IpvsHandle::dump`].
    pub async fn sync_daemons(&self) -> Result<Vec<RunningSync>, KernelFault> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Daemons(answer))?;
        answered.await.map_err(|_| KernelFault::Ended)?
    }

    /// Starts a sync daemon, as [`Ipvs::start_sync`].
    ///
    /// # Errors
    /// As [`Ipvs::start_sync`]; [`KernelFault::Busy`] at once when [`ORDERS_WAITING_MAX`] are
    /// waiting.
    pub async fn start_sync(&self, role: SyncRole, wanted: &Sync) -> Result<(), SyncFault> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::StartSync(role, Box::new(wanted.clone()), answer))?;
        answered.await.map_err(|_| KernelFault::Ended)?
    }

    /// Stops a sync daemon, as [`Ipvs::stop_sync`].
    ///
    /// # Errors
    /// As [`IpvsHandle::start_sync`].
    pub async fn stop_sync(&self, role: SyncRole) -> Result<(), SyncFault> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::StopSync(role, answer))?;
        answered.await.map_err(|_| KernelFault::Ended)?
    }

    fn order(&self, order: Order) -> Result<(), KernelFault> {
        self.orders.try_send(order).map_err(|err| match err {
            mpsc::error::TrySendError::Full(_) => KernelFault::Busy,
            mpsc::error::TrySendError::Closed(_) => KernelFault::Ended,
        })
    }
}

/// Whoever asked may have gone meanwhile; then nobody wants the answer.
fn obey(ipvs: &mut Option<Ipvs>, order: Order) {
    match order {
        Order::Dump(answer) => drop(answer.send(with(ipvs, Ipvs::dump_with_counts))),
        Order::Apply(ops, answer) => drop(answer.send(with(ipvs, |ipvs| ipvs.apply(&ops)))),
        Order::Daemons(answer) => drop(answer.send(with(ipvs, Ipvs::sync_daemons))),
        Order::StartSync(role, wanted, answer) => {
            drop(answer.send(with(ipvs, |ipvs| ipvs.start_sync(role, &wanted))));
        }
        Order::StopSync(role, answer) => {
            drop(answer.send(with(ipvs, |ipvs| ipvs.stop_sync(role))));
        }
    }
}

fn with<T, E: From<KernelFault>>(
    slot: &mut Option<Ipvs>,
    work: impl FnOnce(&mut Ipvs) -> Result<T, E>,
) -> Result<T, E> {
    let mut ipvs = match slot.take() {
        Some(ipvs) => ipvs,
        None => Ipvs::open()?,
    };
    let result = work(&mut ipvs)?;
    *slot = Some(ipvs);
    Ok(result)
}
