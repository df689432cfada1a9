//! Replies to those who have asked.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::control::protocol::Moved;
use crate::control::server::send;

/// A request that has not ended by then is under way: the beat thread answers at its next turn
/// where there is nothing to do or it can't be done.
const AT_ONCE: Duration = Duration::from_millis(50);

/// A reply for somebody who does not wait for the end: a refusal or an end that comes at once is
/// passed on, otherwise it is under way.
pub(super) fn hasty(reply: oneshot::Sender<Vec<u8>>) -> oneshot::Sender<Vec<u8>> {
    let (sender, answer) = oneshot::channel();
    tokio::task::spawn_local(async move {
        match timeout(AT_ONCE, answer).await {
            Ok(Ok(body)) => {
                // The operator pressed ctrl-c.
                let _gone = reply.send(body);
            }
            _ => send(reply, &Moved::UnderWay { under_way: true }),
        }
    });
    sender
}
