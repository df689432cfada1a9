//! Orders to the beat thread: a short queue that its reader never waits for.
//!
//! Not a channel: those of the standard library make a reader spin while a writer that was
//! interrupted half-way does not run, and a reader with real-time priority would keep it from
//! running.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use rustix::event::{EventfdFlags, eventfd};

use super::Order;

/// Orders that wait: one action a group is under way at a time, and operators are few.
const ORDERS_MAX: usize = 256;

/// The thread has not taken the orders before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the beat thread has {ORDERS_MAX} orders waiting")]
pub struct Full;

/// One end of the queue; clones are the same queue.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<VecDeque<Order>>,
    /// Turns of the daemon's main loop.
    turns: AtomicU64,
    wakeup: OwnedFd,
}

impl Orders {
    pub(super) fn new() -> io::Result<Self> {
        let wakeup = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Shared { waiting: Mutex::default(), turns: AtomicU64::new(0), wakeup })))
    }

    /// Puts an order in, and wakes the thread.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&self, order: Order) -> Result<(), Full> {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ORDERS_MAX {
            return Err(Full);
        }
        waiting.push_back(order);
        drop(waiting);
        // Fails only when 2^64 - 2 wakeups are pending: then it is awake.
        let _ = rustix::io::write(&self.0.wakeup, &1u64.to_ne_bytes());
        Ok(())
    }

    /// The daemon's main loop has made a turn.
    pub(super) fn turned(&self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// The turns of that loop so far.
    pub(super) fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }

    /// Everything that waits; `None` when somebody is just putting something in.
    pub(super) fn take(&self) -> Option<VecDeque<Order>> {
        // Before the queue is read: an order put in afterwards wakes us again.
        let _ = rustix::io::read(&self.0.wakeup, &mut [0u8; 8]);
        match self.0.waiting.try_lock() {
            Ok(mut waiting) => Some(std::mem::take(&mut *waiting)),
            Err(TryLockError::Poisoned(waiting)) => {
                Some(std::mem::take(&mut *waiting.into_inner()))
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Readable when something waits.
    pub(super) fn wakeup(&self) -> BorrowedFd<'_> {
        self.0.wakeup.as_fd()
    }
}
