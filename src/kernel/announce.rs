//! Tells the LAN where a virtual IP is now, and hears whether it was understood.
//!
//! A gratuitous announcement only changes what neighbours already know. So each announce target
//! (the gateways) is also asked for its own address in the name of the VIP: that teaches it the
//! VIP in every case, and its answer is the confirmation that it has learned.
//!
//! [`super::addr`] puts the address on the interface; [`crate::net::frames`] has the bytes. What a
//! rival means is decided above.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::kernel::addr::Placement;
use crate::net::frames::{self, Mac};
use crate::sys::packet::PacketSocket;

/// When to announce, counted from the beginning; then every [`REFRESH`]. Early ones are for frames
/// that get lost, 1.1 s for caches that ignore changes for a second after the last one
/// (`locktime`), the late ones for switches that hold a port back while their tree settles.
pub const SCHEDULE: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1100),
    Duration::from_millis(2200),
    Duration::from_millis(5000),
];

/// From one refresh to the next when the schedule is through.
pub const REFRESH: Duration = Duration::from_secs(60);

/// Most announce targets: each is asked up to seven times for each VIP.
pub const TARGETS_MAX: usize = 32;

/// Shortest time between two beginnings of the schedule, whatever asks for them: two nodes that
/// announce against each other must not become a storm.
pub const PAUSE: Duration = Duration::from_millis(100);

/// From one try to the next while the interface is down.
const RETRY: Duration = Duration::from_secs(1);

/// From one probe for a rival to the next.
const PROBE_GAP: Duration = Duration::from_millis(20);

/// How many probes: one may get lost.
const PROBES: u32 = 2;

/// The LAN can't be reached.
#[derive(Debug, thiserror::Error)]
#[error("can't announce {ip} on {interface}: {cause}")]
pub struct AnnounceError {
    /// The VIP.
    pub ip: IpAddr,
    /// Its interface.
    pub interface: String,
    /// The system's reason; EPERM: CAP_NET_RAW is missing.
    pub cause: io::Error,
}

/// That an announce target has learned where the VIP is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The target.
    pub by: IpAddr,
    /// From the beginning of the announcement.
    pub after: Duration,
}

/// What an announcement has heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// The first answer of a target since the last beginning.
    pub confirmed: Option<Confirmation>,
    /// The station that last claimed the VIP since the last beginning, if any but ours has.
    pub rival: Option<Mac>,
    /// How often a rival was heard, ever: a change is a reason to look.
    pub rivals: u64,
    /// Why the last round could not be sent.
    pub fault: Option<String>,
}

/// A running announcement; ends when dropped.
#[derive(Debug)]
pub struct Announcement {
    news: Arc<watch::Sender<News>>,
    restart: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Announcement {
    /// Begins to announce `ip`, which should be on the interface already, as a task of the current
    /// runtime. Of `targets` those of the VIP's family count, at most [`TARGETS_MAX`]. On a link
    /// that is no Ethernet there is nobody to tell, and nothing happens.
    ///
    /// # Errors
    /// [`AnnounceError`] when no packet socket is to be had. Later faults are in [`News::fault`].
    pub fn begin(
        ip: IpAddr,
        placement: &Placement,
        targets: &[IpAddr],
    ) -> Result<Self, AnnounceError> {
        let news = Arc::new(watch::Sender::new(News::default()));
        let restart = Arc::new(Notify::new());
        let task = match ethernet(placement) {
            None => None,
            Some(mac) => {
                let asked = targets.iter().filter(|to| to.is_ipv4() == ip.is_ipv4() && **to != ip);
                let targets: BTreeSet<IpAddr> = asked.copied().take(TARGETS_MAX).collect();
                let socket = socket(ip, placement)?;
                let told = Arc::clone(&news);
                let mut round = Round { ip, mac, socket, pending: targets.clone(), told };
                let begun = Instant::now();
                // At once: the first turn of a task and a timer may be a millisecond away.
                round.send();
                Some(tokio::spawn(announcing(round, targets, begun, Arc::clone(&restart))))
            }
        };
        Ok(Self { news, restart, task })
    }

    /// Begins the schedule anew, at most every [`PAUSE`]; forgets confirmation and rival.
    pub fn again(&self) {
        self.news.send_modify(|news| (news.confirmed, news.rival) = (None, None));
        self.restart.notify_one();
    }

    /// The first confirmation since the last beginning, when it comes in time.
    pub async fn confirmed(&self, within: Duration) -> Option<Confirmation> {
        let mut news = self.news.subscribe();
        let confirmed = news.wait_for(|news| news.confirmed.is_some());
        timeout(within, confirmed).await.ok()?.ok()?.confirmed
    }

    /// What has been heard, and a way to wait for more.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Ends it. Nothing is sent after this returns.
    pub async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Cancelled, as asked.
            let _ = task.await;
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Whether another station has `ip`: two probes, which claim nothing, and its hardware address
/// when one answers within `within`. `None` too where the link is no Ethernet.
///
/// # Errors
/// [`AnnounceError`] when the question could not be sent: nothing is known then.
pub async fn rival(
    placement: &Placement,
    ip: IpAddr,
    within: Duration,
) -> Result<Option<Mac>, AnnounceError> {
    let Some(mac) = ethernet(placement) else { return Ok(None) };
    asked(placement, (ip, mac), &frames::probe(ip, mac), within).await
}

/// The hardware address of a neighbour, asked for twice in the name of `own`. Unlike [`rival`] it is
/// no question that a neighbour which is about to take `ip` as its own address gives way to. `None`
/// where nobody answers within `within`, or the families differ.
///
/// # Errors
/// As [`rival`].
pub async fn neighbour(
    placement: &Placement,
    (own, ip): (IpAddr, IpAddr),
    within: Duration,
) -> Result<Option<Mac>, AnnounceError> {
    let Some(mac) = ethernet(placement) else { return Ok(None) };
    let Some(question) = frames::question(own, mac, ip) else { return Ok(None) };
    asked(placement, (ip, mac), &question, within).await
}

/// Sends a question twice, and waits for who claims `ip`.
async fn asked(
    placement: &Placement,
    (ip, mac): (IpAddr, Mac),
    question: &[u8],
    within: Duration,
) -> Result<Option<Mac>, AnnounceError> {
    let socket = socket(ip, placement)?;
    let end = Instant::now() + within;
    for number in 1..=PROBES {
        socket.send(question).map_err(|cause| failure(ip, placement, cause))?;
        let next = if number == PROBES { end } else { end.min(Instant::now() + PROBE_GAP) };
        if let Ok(found) = timeout_at(next, claimed(&socket, ip, mac)).await {
            return found.map(Some).map_err(|cause| failure(ip, placement, cause));
        }
    }
    Ok(None)
}

async fn claimed(socket: &PacketSocket, ip: IpAddr, ours: Mac) -> io::Result<Mac> {
    loop {
        let frame = socket.receive().await?;
        if let Some(mac) = foreign(&frame, ip, ours) {
            return Ok(mac);
        }
    }
}

/// The station that claims `ip` in this frame, if it is not ours.
fn foreign(frame: &[u8], ip: IpAddr, ours: Mac) -> Option<Mac> {
    let claim = frames::claim(frame)?;
    (claim.ip == ip && claim.mac != ours).then_some(claim.mac)
}

fn ethernet(placement: &Placement) -> Option<Mac> {
    (placement.mac != [0; 6]).then_some(placement.mac)
}

fn socket(ip: IpAddr, placement: &Placement) -> Result<PacketSocket, AnnounceError> {
    PacketSocket::open(placement.ifindex, ip).map_err(|cause| failure(ip, placement, cause))
}

fn failure(ip: IpAddr, placement: &Placement, cause: io::Error) -> AnnounceError {
    AnnounceError { ip, interface: placement.interface.clone(), cause }
}

/// What each round of an announcement sends and hears.
struct Round {
    ip: IpAddr,
    mac: Mac,
    socket: PacketSocket,
    /// Targets that have not answered.
    pending: BTreeSet<IpAddr>,
    told: Arc<watch::Sender<News>>,
}

/// The task behind an [`Announcement`], whose first round was sent when it `begun`.
async fn announcing(
    mut round: Round,
    targets: BTreeSet<IpAddr>,
    mut begun: Instant,
    restart: Arc<Notify>,
) {
    let mut step = 1;
    let mut next = begun + if round.faulty() { RETRY } else { offset(step) };
    loop {
        tokio::select! {
            biased;
            () = sleep_until(next) => {
                step += 1;
                if let Some(Recovered) = round.send() {
                    // The neighbours may have changed while nothing could be sent.
                    (begun, step) = (Instant::now(), 0);
                    round.pending.clone_from(&targets);
                }
                next = if round.faulty() { Instant::now() + RETRY } else { begun + offset(step) };
            }
            () = restart.notified() => {
                // Asked again before it has begun: that is one beginning, not two.
                if begun <= Instant::now() {
                    begun = Instant::now().max(begun + PAUSE);
                }
                (step, next) = (0, begun);
                round.pending.clone_from(&targets);
            }
            frame = round.socket.receive() => match frame {
                Ok(frame) => round.hear(&frame, begun),
                // The interface went down. Said once; from here on sending tells.
                Err(cause) => {
                    round.fault(Some(&cause));
                    next = Instant::now() + RETRY;
                }
            }
        }
    }
}

/// When the round number `step` is due, from the beginning.
fn offset(step: usize) -> Duration {
    let [.., last] = SCHEDULE;
    let beyond = u32::try_from(step.saturating_sub(SCHEDULE.len() - 1)).unwrap_or(u32::MAX);
    SCHEDULE.get(step).copied().unwrap_or_else(|| last + REFRESH.saturating_mul(beyond))
}

/// A round could be sent after one that could not.
struct Recovered;

impl Round {
    fn send(&mut self) -> Option<Recovered> {
        let questions =
            self.pending.iter().filter_map(|to| frames::question(self.ip, self.mac, *to));
        let mut frames = std::iter::once(frames::announcement(self.ip, self.mac)).chain(questions);
        let result = frames.try_for_each(|frame| self.socket.send(&frame));
        let was_faulty = self.faulty();
        self.fault(result.as_ref().err());
        (was_faulty && result.is_ok()).then_some(Recovered)
    }

    fn hear(&mut self, frame: &[u8], begun: Instant) {
        if let Some(mac) = foreign(frame, self.ip, self.mac) {
            self.told.send_modify(|news| {
                news.rival = Some(mac);
                news.rivals += 1;
            });
        }
        let Some(by) = frames::answer(frame, self.ip, self.mac) else { return };
        if self.pending.remove(&by) {
            let confirmation = Confirmation { by, after: begun.elapsed() };
            self.told.send_if_modified(|news| {
                let first = news.confirmed.is_none();
                news.confirmed.get_or_insert(confirmation);
                first
            });
        }
    }

    fn faulty(&self) -> bool {
        self.told.borrow().fault.is_some()
    }

    fn fault(&self, cause: Option<&io::Error>) {
        let text = cause.map(ToString::to_string);
        self.told.send_if_modified(|news| {
            let changed = news.fault != text;
            news.fault = text;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_ends_in_a_refresh_each_minute() {
        let due: Vec<u128> = (0..9).map(|step| offset(step).as_millis()).collect();
        assert_eq!(due, [0, 20, 100, 500, 1100, 2200, 5000, 65_000, 125_000]);
    }
}
