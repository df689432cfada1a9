//! Resources that only tell somebody: an address that is announced without being held (`SendArp`),
//! a mail at the start and at the stop of a group (`MailTo`).
//!
//! A mail never keeps a group from moving: it is sent beside, and a failure is logged.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::cluster::event::{Operation, Outcome};
use crate::config::{Address, MAIL_PROGRAM, Mail};
use crate::exec::{Invocation, run};
use crate::kernel::addr::Addresses;
use crate::kernel::announce::Announcement;
use crate::keys::Secret;
use crate::names::NodeName;

/// Longest that handing a mail over to the mail system may take.
const MAIL_LIMIT: Duration = Duration::from_secs(30);
/// Mails on their way; more are dropped, with a warning.
const MAILS_MAX: usize = 16;

static MAILS: Semaphore = Semaphore::const_new(MAILS_MAX);

/// The addresses that are announced and not held.
#[derive(Debug, Default)]
pub(super) struct Notices {
    announcing: Mutex<BTreeMap<IpAddr, Announcement>>,
}

impl Notices {
    /// Announces the address from now on, or ends that.
    pub(super) async fn announce(
        &self,
        addresses: &Addresses,
        (address, operation): (&Address, Operation),
    ) -> Outcome {
        // The lock must not be held while waiting.
        let before = self.announcing().remove(&address.ip);
        if let Some(before) = before {
            before.stop().await;
        }
        if operation == Operation::Stop {
            return Outcome::Done;
        }
        let placement = match addresses.place(address).await {
            Ok(placement) => placement,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        match Announcement::begin(address.ip, &placement, &[]) {
            Ok(announcement) => {
                self.announcing().insert(address.ip, announcement);
                Outcome::Done
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    fn announcing(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Announcement>> {
        self.announcing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a mail beside.
pub(super) fn mail(mail: &Mail, node: &NodeName, operation: Operation) -> Outcome {
    let letter = letter(mail, node, operation);
    let Ok(place) = MAILS.try_acquire() else {
        warn!("no mail to {}: too many are on their way", mail.to.join(", "));
        return Outcome::Done;
    };
    let (to, text) = (mail.to.join(", "), Secret::new(&letter));
    let mut args = vec!["-i".to_owned(), "--".to_owned()];
    args.extend(mail.to.iter().cloned());
    let invocation = Invocation {
        program: PathBuf::from(MAIL_PROGRAM),
        args,
        environment: BTreeMap::from([(
            "PATH".to_owned(),
            "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        )]),
        input: Some(text),
        limit: MAIL_LIMIT,
    };
    tokio::spawn(async move {
        match run(&invocation).await {
            Ok(ran) if !ran.timed_out && ran.status.is_some_and(|it| it.success()) => {
                info!("mail to {to} is on its way");
            }
            Ok(ran) => warn!("no mail to {to}: {}", ran.stderr.trim()),
            Err(error) => warn!("no mail to {to}: {error}"),
        }
        drop(place);
    });
    Outcome::Done
}

/// The whole letter; sendmail adds sender and date.
fn letter(mail: &Mail, node: &NodeName, operation: Operation) -> String {
    let what = match operation {
        Operation::Start => format!("taken over by {node}"),
        Operation::Stop => format!("given up by {node}"),
    };
    let (to, subject) = (mail.to.join(", "), &mail.subject);
    format!(
        "To: {to}\nSubject: {subject}: {what}\nAuto-Submitted: auto-generated\n\n{subject} is {what}.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_what_moves_and_where() {
        let to = vec!["root@example.org".to_owned(), "ops".to_owned()];
        let mail = Mail { to, subject: "web".to_owned() };
        let node = NodeName::new("server101").unwrap();
        assert_eq!(
            letter(&mail, &node, Operation::Stop),
            "To: root@example.org, ops\nSubject: web: given up by server101\n\
             Auto-Submitted: auto-generated\n\nweb is given up by server101.\n"
        );
    }
}
